-- Ends a worker's registration and gives what it held back to the others at once, instead of after missed heartbeats.
-- An id without data or metadata would fail every worker that fetches it: it goes (the dispatcher pushes it anew).
-- KEYS: active, workers, inflight set, worker metadata, data, meta prefix. ARGV: worker, wake channel.
local given_back = 0
for _, id in ipairs(redis.call('smembers', KEYS[3])) do
    if redis.call('hexists', KEYS[5], id) == 1 and redis.call('hexists', KEYS[6] .. ':' .. id, 'attempts') == 1 then
        redis.call('lpush', KEYS[1], id)
        given_back = given_back + 1
    end
end
redis.call('del', KEYS[3], KEYS[4])
redis.call('zrem', KEYS[2], ARGV[1])
if given_back > 0 then
    redis.call('publish', ARGV[2], '')
end
return given_back
