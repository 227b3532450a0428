-- Makes room for a job that is pushed again: forgets its earlier entry unless the queue still has it.
-- KEYS: data, meta prefix, active, scheduled, workers, inflight prefix, done, dead. ARGV[1]: task id. Returns 1 if forgotten.
local id = ARGV[1]
if redis.call('zscore', KEYS[4], id) or redis.call('lpos', KEYS[3], id) then
    return 0
end
for _, worker in ipairs(redis.call('zrange', KEYS[5], 0, -1)) do
    if redis.call('sismember', KEYS[6] .. ':' .. worker, id) == 1 then
        return 0
    end
end
redis.call('hdel', KEYS[1], id)
redis.call('del', KEYS[2] .. ':' .. id)
redis.call('srem', KEYS[7], id)
redis.call('srem', KEYS[8], id)
return 1
