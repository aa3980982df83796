-- One opening that all workers have in common, and the lease of who probes. Times are milliseconds of this server's
-- clock; what comes in and goes out are distances from now, because no two workers' clocks agree.
--
-- KEYS[1]: the opening, a hash of id, opened, probe, level, good, ramp (empty: nobody has come back yet)
-- KEYS[2]: the lease, the token of its holder
-- ARGV: what to do, and what that needs

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local KEPT = 3600000

local function read()
    local found = redis.call('HMGET', KEYS[1], 'id', 'opened', 'probe', 'level', 'good', 'ramp')
    if not found[1] or not found[2] or not found[3] or not found[4] or not found[5] or not found[6] then
        return nil
    end
    return {
        id = found[1], opened = tonumber(found[2]), probe = tonumber(found[3]), level = tonumber(found[4]),
        good = tonumber(found[5]), ramp = tonumber(found[6]),
    }
end

local function write(it)
    redis.call('HSET', KEYS[1], 'id', it.id, 'opened', it.opened, 'probe', it.probe, 'level', it.level,
        'good', it.good, 'ramp', it.ramp or '')
    redis.call('PEXPIRE', KEYS[1], math.max(KEPT, 2 * (it.probe - now)))
end

local function told(it)
    if not it then return {} end
    return { it.id, now - it.opened, it.probe - now, it.level, it.good, it.ramp and now - it.ramp or -1 }
end

local it = read()
local what = ARGV[1]

if what == 'open' then
    -- id, milliseconds since it opened, milliseconds to the probe, level, good probes, id of the one it returned from.
    -- One that lasts is joined; one that all have come back from is followed by a new one, unless ours is the older.
    local is_over = it and (it.id == ARGV[7] or (it.ramp and now - tonumber(ARGV[3]) > it.ramp))
    if not it or is_over then
        it = {
            id = ARGV[2], opened = now - tonumber(ARGV[3]), probe = now + tonumber(ARGV[4]),
            level = tonumber(ARGV[5]), good = tonumber(ARGV[6]),
        }
        write(it)
    end
    return told(it)
end

if what == 'probed' then
    -- id, how it ended, milliseconds to the next probe
    if it and it.id == ARGV[2] then
        if ARGV[3] == 'good' then
            it.good = it.good + 1
        elseif ARGV[3] == 'bad' then
            it.good = 0
            it.level = it.level + 1
        end
        it.probe = now + tonumber(ARGV[4])
        write(it)
    end
    return told(it)
end

if what == 'returned' then
    -- id
    if it and it.id == ARGV[2] and not it.ramp then
        it.ramp = now
        write(it)
    end
    return told(it)
end

if what == 'lease' then
    -- id, token, milliseconds. Whoever has read of a probe that is due may be late: another has made it meanwhile.
    if it and it.id == ARGV[2] and now < it.probe then return 0 end
    return redis.call('SET', KEYS[2], ARGV[3], 'NX', 'PX', ARGV[4]) and 1 or 0
end

if what == 'release' then
    -- token
    if redis.call('GET', KEYS[2]) == ARGV[2] then return redis.call('DEL', KEYS[2]) end
    return 0
end

return told(it)
