-- apalis' own vacuum reads the whole data hash and leaves the done set. This takes a bounded bite of ended entries.
-- KEYS: done, dead, data, meta prefix. ARGV[1]: how many of each at most. Returns how many went.
local gone = 0
for i = 1, 2 do
    for _, id in ipairs(redis.call('spop', KEYS[i], ARGV[1])) do
        redis.call('hdel', KEYS[3], id)
        redis.call('del', KEYS[4] .. ':' .. id)
        gone = gone + 1
    end
end
return gone
