-- Takes a try to sign in, and counts it as a failure until the password has turned out right: so tries that come at
-- the same time cannot all slip through before the first of them is known to have failed.
-- With "refused" it was one that has been told so now, and the delay begins anew: looking at a password may take longer
-- than the first delays.
-- KEYS: what is counted (the account, the network). ARGV: failures that cost nothing for each of the keys, then the
-- longest delay and how long a count is remembered, in seconds, and "refused" or "". The answer is how long to wait, in
-- ms; 0: it is taken.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local longest, remembered = tonumber(ARGV[#KEYS + 1]), tonumber(ARGV[#KEYS + 2])
local is_refused = ARGV[#KEYS + 3] == 'refused'
local wait = 0
for _, key in ipairs(is_refused and {} or KEYS) do
  local again_at = tonumber(redis.call('HGET', key, 'again_at') or 0)
  wait = math.max(wait, math.min(again_at - now, longest * 1000))
end
if wait > 0 then
  return wait
end
for place, key in ipairs(KEYS) do
  local failures = redis.call('HINCRBY', key, 'failures', is_refused and 0 or 1)
  local beyond = failures - tonumber(ARGV[place])
  if beyond >= 0 then
    local delay = math.min(longest, 2 ^ math.min(beyond, 20))
    redis.call('HSET', key, 'again_at', string.format('%d', now + delay * 1000))
  end
  redis.call('EXPIRE', key, remembered)
end
return 0
