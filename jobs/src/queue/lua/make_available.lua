-- apalis schedules every push for "now" by the pusher's clock. Making it available at once needs no agreement of
-- clocks, and keeps the scheduled set, which apalis promotes in one unbounded `unpack`, empty.
-- KEYS: active, scheduled. ARGV: task id, wake channel.
-- Returns how many were moved.
local moved = redis.call('zrem', KEYS[2], ARGV[1])
if moved == 1 then
    redis.call('rpush', KEYS[1], ARGV[1])
end
redis.call('publish', ARGV[2], '')
return moved
