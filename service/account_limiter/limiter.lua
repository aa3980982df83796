-- The ledger of an account's slots. One call: a process says what it gave back, what it holds and who waits,
-- and hears what it has. Everything between two lines of Redis's log happens here or nowhere.
--
-- KEYS  state (hash), members, deadlines, fences (hash), then held and waiting of the classes 1, 2, 3 (sorted sets)
-- ARGV  one JSON object; its fields are those of `Report` and `Terms` in ledger.py. Times are in ms.
--
-- An id begins with the digit of its class. `held` is scored by the time at which the lease runs out, `waiting` by the
-- place in the queue, `deadlines` by the time until which a waiter counts without a sign of life.

local ask = cjson.decode(ARGV[1])
local STATE, MEMBERS, DEADLINES, FENCES = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local HELD = {KEYS[5], KEYS[6], KEYS[7]}
local WAITING = {KEYS[8], KEYS[9], KEYS[10]}
local LIVE = 1

local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)

local FIELDS = {
  'epoch', 'counter', 'grace_ends', 'plan', 'limit', 'learned', 'restored_at', 'refused_at', 'mean', 'samples',
}
local stored = redis.call('HMGET', STATE, unpack(FIELDS))
local state = {}
for i, field in ipairs(FIELDS) do state[field] = tonumber(stored[i]) or 0 end

local function class_of(id) return tonumber(string.sub(id, 1, 1)) end

-- Places in the queue and fences come from one counter. It begins at Redis's clock in microseconds, so that it also
-- rises from before a flush to after it.
local function next_number()
  state.counter = state.counter + 1
  return state.counter
end

local function counts(keys)
  local found = {}
  for class, key in ipairs(keys) do found[class] = redis.call('ZCARD', key) end
  return found
end

local function sum(numbers) return numbers[1] + numbers[2] + numbers[3] end

-- A new epoch: this server has forgotten (flushed, new), or may have forgotten the last second (restarted). Nothing is
-- granted until all who may hold something have said so: for one TTL, after which what they held has run out anyway.
local function begin_epoch_if_needed()
  if state.epoch > 0 and not ask.restarted then return end
  -- In a grace nothing was granted, so who has answered the roll has lost nothing that its answer did not lose too.
  if now >= state.grace_ends then
    state.epoch = micros
    state.counter = math.max(state.counter, micros)
    redis.call('DEL', MEMBERS)
  end
  state.grace_ends = now + ask.ttl
end

local function purge()
  redis.call('ZREMRANGEBYSCORE', MEMBERS, '-inf', now)
  for class = 1, 3 do
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', HELD[class], '-inf', now)) do
      redis.call('ZREM', HELD[class], id)
      redis.call('HDEL', FENCES, id)
    end
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', now)) do
    redis.call('ZREM', DEADLINES, id)
    redis.call('ZREM', WAITING[class_of(id)], id)
  end
end

-- A process answers the roll once it knows of the epoch, since only then it names all that it got before. The roll is
-- complete when as many processes as there are have come back from before the epoch; or when as many new ones have
-- come and none from before (the first start).
local function call_the_roll()
  if ask.member == '' or ask.epoch ~= state.epoch then return end
  redis.call('ZADD', MEMBERS, now + ask.ttl, (ask.is_survivor and 's:' or 'n:') .. ask.member)
  if now >= state.grace_ends then return end
  local survivors, newcomers = 0, 0
  for _, member in ipairs(redis.call('ZRANGE', MEMBERS, 0, -1)) do
    if string.sub(member, 1, 1) == 's' then survivors = survivors + 1 else newcomers = newcomers + 1 end
  end
  if survivors >= ask.workers or (survivors == 0 and newcomers >= ask.workers) then state.grace_ends = now end
end

-- The limit in force: the plan's, halved by refusals, one more for each quiet window, never above the plan.
local function settle_limit()
  if ask.maximum > 0 then state.learned = ask.maximum end
  local plan = ask.cap
  if state.learned > 0 then plan = ask.follows_plan and state.learned or math.min(plan, state.learned) end
  local was_whole = state.limit >= state.plan
  state.limit = was_whole and plan or math.min(state.limit, plan)
  state.plan = plan
  local windows = math.floor((now - state.restored_at) / ask.quiet)
  if state.limit < plan and windows > 0 then
    state.limit = math.min(plan, state.limit + windows)
    state.restored_at = state.restored_at + windows * ask.quiet
  end
  if ask.refused then
    -- Refusals that come together are one refusal: all of them were on their way before the limit changed.
    if now - state.refused_at >= ask.settling then
      state.limit = math.max(1, math.floor(state.limit / 2))
      state.refused_at = now
    end
    state.restored_at = now
  end
end

local function take_back()
  for _, pair in ipairs(ask.released) do
    local id, held_for = pair[1], pair[2]
    local class = class_of(id)
    redis.call('ZREM', WAITING[class], id)
    redis.call('ZREM', DEADLINES, id)
    redis.call('HDEL', FENCES, id)
    redis.call('ZREM', HELD[class], id)
    if held_for >= 0 then
      state.samples = state.samples + 1
      state.mean = state.mean + (held_for - state.mean) / math.min(state.samples, 20)
    end
  end
end

local function hold(id, fence, ends)
  local class = class_of(id)
  redis.call('ZREM', WAITING[class], id)
  redis.call('ZREM', DEADLINES, id)
  redis.call('ZADD', HELD[class], ends, id)
  redis.call('HSET', FENCES, id, string.format('%.0f', fence))
end

-- A lease that is not known any more is put back only where nobody can have got its slot (the grace), or where the
-- holder went on because we were out of its reach. One without a fence is of a static share: it is entered as it is,
-- also above the limit, so that nothing new is granted until there is room again. Otherwise it is lost (0).
local function renew()
  local answers = {}
  for i, pair in ipairs(ask.held) do
    local id, fence = pair[1], pair[2]
    local known = redis.call('ZSCORE', HELD[class_of(id)], id)
    if known or now < state.grace_ends or ask.carries or fence == 0 then
      if fence == 0 then fence = tonumber(redis.call('HGET', FENCES, id)) or next_number() end
      state.counter = math.max(state.counter, fence)
      hold(id, fence, now + ask.ttl)
      answers[i] = fence
    else
      answers[i] = 0
    end
  end
  return answers
end

-- Who has no place yet gets the next one; who had one before (it was silent for too long, we forgot) keeps it.
local function queue_up()
  local present, places = {}, {}
  for i, pair in ipairs(ask.waiting) do
    local id, place = pair[1], pair[2]
    local class = class_of(id)
    present[id] = true
    if not redis.call('ZSCORE', HELD[class], id) then
      local known = tonumber(redis.call('ZSCORE', WAITING[class], id))
      if not known then
        known = place > 0 and place or next_number()
        state.counter = math.max(state.counter, known)
        redis.call('ZADD', WAITING[class], known, id)
      end
      redis.call('ZADD', DEADLINES, now + ask.patience, id)
      place = known
    end
    places[i] = place
  end
  return present, places
end

-- Slots that only live turns get: a share, rounded up, but never all of them.
local function reserved()
  return math.max(0, math.min(math.ceil(state.limit * ask.reserved_share - 1e-9), state.limit - 1))
end

-- Free slots go to the heads of the queues, whoever is asking: that is what makes the order of grants the order of
-- the queue. One of another process has until its deadline to hear of it.
local function grant(present)
  if now < state.grace_ends then return end
  local held = counts(HELD)
  for class = 1, 3 do
    while sum(held) < state.limit and (class == LIVE or held[2] + held[3] < state.limit - reserved()) do
      local id = redis.call('ZRANGE', WAITING[class], 0, 0)[1]
      if not id then break end
      local ends = present[id] and now + ask.ttl or tonumber(redis.call('ZSCORE', DEADLINES, id))
      hold(id, next_number(), ends)
      held[class] = held[class] + 1
    end
  end
end

local function forget_waiter(id)
  redis.call('ZREM', WAITING[class_of(id)], id)
  redis.call('ZREM', DEADLINES, id)
end

-- For each waiter two numbers: its fence, or minus its position, or 0 if it may not wait because the queue is full; and
-- its place. Who is held has heard of it now.
local function answer_waiters(places)
  local answers = {}
  for i, pair in ipairs(ask.waiting) do
    local id = pair[1]
    local class = class_of(id)
    local rank = redis.call('ZRANK', WAITING[class], id)
    local answer
    if not rank then
      answer = tonumber(redis.call('HGET', FENCES, id))
      redis.call('ZADD', HELD[class], now + ask.ttl, id)
    else
      local waiting = counts(WAITING)
      answer = -(rank + 1)
      for above = 1, class - 1 do answer = answer - waiting[above] end
      local is_new = pair[2] == 0
      if not ask.may_wait then
        forget_waiter(id)
      elseif is_new and sum(waiting) > ask.max_waiting then
        forget_waiter(id)
        answer = 0
      end
    end
    answers[2 * i - 1] = answer
    answers[2 * i] = places[i]
  end
  return answers
end

begin_epoch_if_needed()
purge()
settle_limit()
take_back()
local renewed = renew()
call_the_roll() -- after renewing: the grace that this call may end still holds for what it says
local present, places = queue_up()
grant(present)
local waited = answer_waiters(places)

local written = {}
for _, field in ipairs(FIELDS) do
  written[#written + 1] = field
  written[#written + 1] = string.format('%.0f', state[field])
end
redis.call('HSET', STATE, unpack(written))

local held, waiting = counts(HELD), counts(WAITING)
local account = {
  state.epoch, math.max(0, state.grace_ends - now), state.limit, state.plan, state.learned, reserved(),
  state.mean, state.samples, held[1], held[2], held[3], waiting[1], waiting[2], waiting[3],
}
return {account, renewed, waited}
