-- apalis schedules every push for "now" by the pusher's clock. Making it available at once needs no agreement of
-- clocks, and keeps the scheduled set, which apalis promotes in one unbounded `unpack`, empty. A message takes the place of
-- the one before it that still waits, so that the queue usually holds one for each job however often it is pushed.
-- KEYS: active, scheduled, data, meta prefix. ARGV: wake channel, then for each message its id and that of the one before it.
-- Returns how many were made available.
local moved = 0
for i = 2, #ARGV, 2 do
    local id, earlier = ARGV[i], ARGV[i + 1]
    if redis.call('zrem', KEYS[2], id) == 1 then
        moved = moved + 1
        local place = redis.call('lpos', KEYS[1], earlier)
        if place then
            redis.call('lset', KEYS[1], place, id)
            redis.call('hdel', KEYS[3], earlier)
            redis.call('del', KEYS[4] .. ':' .. earlier)
        else
            redis.call('rpush', KEYS[1], id)
        end
    end
end
redis.call('publish', ARGV[1], '')
return moved
