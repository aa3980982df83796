-- Who leads a conversation, and which token lets its client come back.
--
-- KEYS  the state (a hash), the marker of a conversation that is not kept, since when states are known here
-- ARGV  what to do, and what that needs (see below). Times are in ms.
--
-- The state's fields: d (digest of the token that is good), g (digest of the one that was used last, while nothing
-- proves that its successor has arrived), gf (from when on that one is good again), u (digests of used ones), o (owner),
-- f (fence), v (revision of what the owner wrote), n and b (question of the last claim, owner before it), a (agent), af (formats),
-- i (initiation), k (bound of its API key), s, r, h (events sent, messages received, highest event id).

local STATE, REFUSED, SINCE = KEYS[1], KEYS[2], KEYS[3]
local ACTION = ARGV[1]

local MOST_USED = 8
local SETTLED_MS = 6000    -- by then every worker has written down again what a Redis that lost it had
local SINCE_MS = 60000     -- after which nobody has had a conversation, or Redis

local actions = {}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function with_used(used, digest)
  if digest == '' then return used end
  local all = {}
  for each in string.gmatch(used, '%x+') do
    if each ~= digest then all[#all + 1] = each end
  end
  all[#all + 1] = digest
  return table.concat(all, ',', math.max(1, #all - MOST_USED + 1))
end

-- A Redis that has lost everything may have been told by nobody yet, or only by a worker that was not up to date.
local function unless_new(verdict)
  local since = tonumber(redis.call('GET', SINCE))
  if not since or now - since < SETTLED_MS then return 'unsure' end
  return verdict
end

local function has(used, digest)
  for each in string.gmatch(used, '%x+') do
    if each == digest then return true end
  end
  return false
end

-- owner, fence, revision, lifetime, d, g, until g is good, u, s, r, h[, a, af, i, k]: write down what the owner knows.
-- Answers kept; or missing (and a, af, i, k are needed); or mine, the fence and g; or taken, or refused.
function actions.keep()
  local owner, fence, revision = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
  if redis.call('EXISTS', REFUSED) == 1 then
    redis.call('DEL', STATE)
    return {'refused'}
  end
  local found = redis.call('HMGET', STATE, 'f', 'o', 'v', 'g')
  if not found[1] then
    if not ARGV[13] then return {'missing'} end
  else
    local known = tonumber(found[1])
    if found[2] ~= owner and known >= fence then return {'taken'} end
    if found[2] == owner and known > fence then return {'mine', found[1], found[4] or ''} end
    if known == fence and tonumber(found[3]) >= revision then return {'kept'} end
  end
  redis.call('HSET', STATE, 'o', owner, 'f', ARGV[3], 'v', ARGV[4], 'd', ARGV[6], 'g', ARGV[7],
    'gf', string.format('%.0f', now + tonumber(ARGV[8])), 'u', ARGV[9], 's', ARGV[10], 'r', ARGV[11], 'h', ARGV[12])
  if ARGV[13] then redis.call('HSET', STATE, 'a', ARGV[13], 'af', ARGV[14], 'i', ARGV[15], 'k', ARGV[16]) end
  redis.call('PEXPIRE', STATE, ARGV[5])
  return {'kept'}
end

-- (nothing): a worker is there. Whoever finds no state knows by this whether Redis has lost it just now.
function actions.here()
  redis.call('SET', SINCE, string.format('%.0f', now), 'NX')
  redis.call('PEXPIRE', SINCE, SINCE_MS)
  return {'kept'}
end

-- owner, digest, question, until it is good again, lifetime: use a token, and lead its conversation from now on.
-- Answers ok, the fence, the owner before, a, af, i, s, r, h, used ones, k; or unconfirmed, used, invalid, expired, unsure.
function actions.claim()
  local owner, digest, question = ARGV[2], ARGV[3], ARGV[4]
  if redis.call('EXISTS', REFUSED) == 1 then return {'expired'} end
  local found = redis.call('HMGET', STATE, 'd', 'g', 'gf', 'u', 'f', 'o', 'n', 'a', 'af', 'i', 's', 'r', 'h', 'b', 'k')
  if not found[5] then return {unless_new('expired')} end
  local good, last, used = found[1], found[2], found[4]
  local fence, before = tonumber(found[5]), found[6]
  if found[7] == question then     -- asked again, because our answer was lost
    before = found[14]
  else
    if digest == last and digest ~= good and tonumber(found[3]) > now then return {'unconfirmed'} end
    if digest ~= good and digest ~= last then
      return {unless_new(has(used, digest) and 'used' or 'invalid')}
    end
    -- Of the other of the two nobody will hear any more.
    used = with_used(used, digest == good and last or good)
    fence = fence + 1
    redis.call('HSET', STATE, 'd', '', 'g', digest, 'gf', string.format('%.0f', now + tonumber(ARGV[5])), 'u', used,
      'o', owner, 'f', fence, 'v', 0, 'n', question, 'b', before)
    redis.call('PEXPIRE', STATE, ARGV[6])
  end
  return {'ok', tostring(fence), before, found[8], found[9], found[10], found[11], found[12], found[13], used, found[15]}
end

-- owner, fence: the conversation has ended.
function actions.forget()
  local found = redis.call('HMGET', STATE, 'f', 'o')
  if found[1] and found[2] == ARGV[2] and tonumber(found[1]) <= tonumber(ARGV[3]) then redis.call('DEL', STATE) end
  return {'kept'}
end

return actions[ACTION]()
