-- The ledger of one conversation. Everything between two lines of Redis's log happens here or nowhere.
--
-- KEYS  the stream, the lease of who drains it, the marker of a conversation that is not kept, the index
-- ARGV  what to do, the conversation's id, and what that needs (see below). Times are in ms.
--
-- An entry's id is its sequence number, `<sequence>-0`. Its fields: t (when it came here), f (the fence of who wrote
-- it), k (what it is), r (the record). The index has every conversation of which something is not in the database yet,
-- by when that came here.

local STREAM, LEASE, REFUSED, INDEX = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ACTION, ID = ARGV[1], ARGV[2]
local GROUP = 'database'

local KEPT = 1000               -- entries that the database has, for whoever takes the conversation over
local WAITING_MS = 259200000    -- three days: the database is away
local GOES_ON_MS = 86400000     -- a day
local ENDED_MS = 3600000        -- an hour

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function sequence_of(id) return tonumber(string.match(id, '^%d+')) end

local function id_of(sequence) return string.format('%.0f-0', sequence) end

local function fields_of(entry)
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  return fields
end

-- The sequence of the newest entry, and its fields; 0 and none if there is no stream.
local function newest()
  local found = redis.call('XREVRANGE', STREAM, '+', '-', 'COUNT', 1)[1]
  if not found then return 0, {} end
  return sequence_of(found[1]), fields_of(found)
end

-- Up to which sequence everything is in the database.
local function confirmed()
  local groups = redis.call('XINFO', 'GROUPS', STREAM)
  if not groups[1] then
    redis.call('XGROUP', 'CREATE', STREAM, GROUP, '0')
    return 0
  end
  local group = {}
  for i = 1, #groups[1], 2 do group[groups[1][i]] = groups[1][i + 1] end
  local waiting = redis.call('XPENDING', STREAM, GROUP)
  if waiting[1] > 0 then return sequence_of(waiting[2]) - 1 end
  return sequence_of(group['last-delivered-id'])
end

-- Drop what the database has, but for the newest `keep`.
local function trim(last, done, keep)
  if redis.call('XLEN', STREAM) > keep then
    redis.call('XTRIM', STREAM, 'MINID', id_of(math.min(done + 1, last, math.max(1, last - keep + 1))))
  end
end

local function leave_lease(holder)
  if redis.call('GET', LEASE) == holder then redis.call('DEL', LEASE) end
end

-- Have index and expiry say how far the database is; the result is that, and the newest sequence.
local function settle()
  local last, fields = newest()
  local done = confirmed()
  trim(last, done, KEPT)
  if done >= last then
    redis.call('ZREM', INDEX, ID)
    redis.call('PEXPIRE', STREAM, fields.k == 'end' and ENDED_MS or GOES_ON_MS)
    return done, last
  end
  local next = redis.call('XRANGE', STREAM, id_of(done + 1), '+', 'COUNT', 1)[1]
  redis.call('ZADD', INDEX, fields_of(next).t, ID)
  return done, last
end

local actions = {}

-- fence, floor (up to where the database has everything, or nobody has it any more), most (entries that the stream may
-- have), then sequence, kind and record of each entry. Answers ok, fenced (somebody else goes on with the conversation),
-- gap (something between is missing), behind (an owner of before has used these numbers since Redis lost its memory),
-- full or refused; and the newest sequence.
function actions.append()
  local fence, floor, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  if redis.call('EXISTS', REFUSED) == 1 then return {'refused', 0} end
  local last, fields = newest()
  if last > 0 and tonumber(fields.f) > fence then return {'fenced', last} end
  if tonumber(ARGV[6]) > math.max(last, floor) + 1 then return {'gap', last} end
  local count = (#ARGV - 5) / 3
  if last > 0 and redis.call('XLEN', STREAM) + count > most then
    trim(last, confirmed(), KEPT)
    if redis.call('XLEN', STREAM) + count > most then return {'full', last} end
  end
  redis.call('ZADD', INDEX, 'NX', now, ID)
  for i = 6, #ARGV, 3 do
    local sequence, kind, record = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2]
    local id = id_of(sequence)
    if sequence > last then
      redis.call('XADD', STREAM, id, 't', string.format('%.0f', now), 'f', ARGV[3], 'k', kind, 'r', record)
    else  -- it is here already, or was dropped since; another one of that number is another owner's
      local there = redis.call('XRANGE', STREAM, id, id)[1]
      local its = there and fields_of(there)
      if its and (its.f ~= ARGV[3] or its.k ~= kind or its.r ~= record) then
        return {tonumber(its.f) < fence and 'behind' or 'fenced', last}
      end
    end
  end
  confirmed()  -- makes the group
  redis.call('PEXPIRE', STREAM, WAITING_MS)
  local sent = tonumber(ARGV[#ARGV - 2])
  if sent <= last then settle() end
  return {'ok', math.max(last, sent)}
end

-- the least fence. Answers the fence and the sequence of the entry that says so, or refused.
function actions.take_over()
  if redis.call('EXISTS', REFUSED) == 1 then return {'refused', 0} end
  local last, fields = newest()
  -- Without a stream nobody knows the fences of before. By the clock it is above any that was given out.
  local fence = math.max(tonumber(ARGV[3]), last > 0 and tonumber(fields.f) + 1 or now)
  local text = string.format('%.0f', fence)
  redis.call('ZADD', INDEX, 'NX', now, ID)
  redis.call('XADD', STREAM, id_of(last + 1), 't', string.format('%.0f', now), 'f', text, 'k', 'owner', 'r', '')
  confirmed()
  redis.call('PEXPIRE', STREAM, WAITING_MS)
  return {text, last + 1}
end

-- holder, milliseconds of the lease, most entries. Answers the first of the entries that are not in the database, or
-- that somebody else has the lease. Who holds it takes over what others were given: it is written again, in order.
function actions.take()
  local holder, lease_ms, most = ARGV[3], ARGV[4], ARGV[5]
  if redis.call('EXISTS', STREAM) == 0 then
    redis.call('ZREM', INDEX, ID)
    return {'gone'}
  end
  local now_held = redis.call('GET', LEASE)
  if now_held and now_held ~= holder then return {'held'} end
  confirmed()
  local entries = redis.call('XAUTOCLAIM', STREAM, GROUP, holder, 0, '0-0', 'COUNT', most)[2]
  if #entries == 0 then
    local read = redis.call('XREADGROUP', 'GROUP', GROUP, holder, 'COUNT', most, 'STREAMS', STREAM, '>')
    entries = read and read[1] and read[1][2] or {}
  end
  if #entries == 0 then
    leave_lease(holder)
    settle()
    return {'drained'}
  end
  redis.call('SET', LEASE, holder, 'PX', lease_ms)
  return {'entries', entries}
end

-- holder, then the sequences that are in the database. Answers up to where it has everything now, and the newest one.
function actions.acknowledge()
  leave_lease(ARGV[3])
  if redis.call('EXISTS', STREAM) == 0 then return {0, 0} end
  local ids = {}
  for i = 4, #ARGV do ids[#ids + 1] = id_of(tonumber(ARGV[i])) end
  if #ids > 0 then redis.call('XACK', STREAM, GROUP, unpack(ids)) end
  return {settle()}
end

-- holder, milliseconds. The conversation was erased: nothing of it stays here, and its owner is told.
function actions.refuse()
  leave_lease(ARGV[3])
  redis.call('DEL', STREAM)
  redis.call('ZREM', INDEX, ID)
  redis.call('SET', REFUSED, '1', 'PX', ARGV[4])
  return 0
end

-- Answers the newest sequence (-1: refused), up to where the database has everything, and the newest fence.
function actions.progress()
  if redis.call('EXISTS', REFUSED) == 1 then return {-1, 0, '0'} end
  local last, fields = newest()
  if last == 0 then return {0, 0, '0'} end
  return {last, confirmed(), fields.f}
end

return actions[ACTION]()
