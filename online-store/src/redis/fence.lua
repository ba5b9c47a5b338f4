-- Puts a fence up, unless one of a greater token stands there.
--
-- KEYS  1 the fence
-- ARGV  1 the token
@above
local stored = redis.call('GET', KEYS[1])
if stored and above(stored, ARGV[1]) then return redis.error_reply('FENCED ' .. stored) end
redis.call('SET', KEYS[1], ARGV[1])
return redis.status_reply('OK')
