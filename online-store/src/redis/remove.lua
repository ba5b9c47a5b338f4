-- Removes what a view has of one entity, if it is of the interval that is being corrected.
--
-- A template like `newer_wins.lua`.
--
-- KEYS  1 the entity's key, 2 the fence
-- ARGV  seconds and nanoseconds of the interval's start and of its end, then the token
-- Returns 1, or 0 where nothing of the interval is stored.
@guard
local run, byte, key, stamp = redis.pcall, string.byte, KEYS[1], @stamp

@time
@inside
local stored = run('HGET', key, stamp)
if not stored then return 0 end
if type(stored) == 'table' then return stored end
local s, n = decode(stored)
if not s then return redis.error_reply('BADTIME stored event time') end
if not inside(s, n) then return 0 end

-- Lua's C stack holds 8000 values.
local PIECE = 4000
local fields = {@fields}
for from = 1, #fields, PIECE do
  local reply = run('HDEL', key, unpack(fields, from, math.min(from + PIECE - 1, #fields)))
  if type(reply) == 'table' then return reply end
end
-- The event time last: until it is gone, the removal can be repeated.
local reply = run('HDEL', key, stamp)
if type(reply) == 'table' then return reply end
return 1
