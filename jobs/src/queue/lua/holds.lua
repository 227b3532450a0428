-- KEYS: active, scheduled, workers, inflight prefix. ARGV: task ids. Returns those that wait or are with a worker.
local held = {}
local function add(ids)
    for _, id in ipairs(ids) do
        held[id] = true
    end
end
add(redis.call('lrange', KEYS[1], 0, -1))
add(redis.call('zrange', KEYS[2], 0, -1))
for _, worker in ipairs(redis.call('zrange', KEYS[3], 0, -1)) do
    add(redis.call('smembers', KEYS[4] .. ':' .. worker))
end
local found = {}
for _, id in ipairs(ARGV) do
    if held[id] then
        table.insert(found, id)
    end
end
return found
