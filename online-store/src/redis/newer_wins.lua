-- Writes rows of one view; of two rows of one entity the newer wins, whoever else is writing.
--
-- A template: `script.rs` puts the view's fields, its TTL and the store's rule in at the marks, so
-- that a row costs no table of its own.
--
-- KEYS  the rows' keys; of a fenced view the fence after them
-- ARGV  1 one digit a row ('1': tombstone) or empty when there is none, then a row at a time:
--       event time as a serialized google.protobuf.Timestamp and, unless it is a tombstone, one
--       value a feature; of a correcting call then seconds and nanoseconds of the interval's start
--       and of its end; of a fenced view the token last
-- Returns rows written, rows older than what is stored, rows equal in time to what is stored,
--       tombstones written, tombstones equal in time to what is stored, rows without a stored time.
-- An error ends with the row's number, so that the caller can name the key. Rows before it are
-- written, which is harmless: they are found equal when the call is repeated.

@guard
local run, byte, KEYS, ARGV = redis.pcall, string.byte, KEYS, ARGV
local stamp, ttl, features = @stamp, @ttl, @features
local dead, at = ARGV[1], 1

local function failed(i, reply)
  return redis.error_reply((string.gsub(reply.err, '^%-', '')) .. ' [row ' .. (i - 1) .. ']')
end

@time
@inside
-- The seconds of a time from 1978 to 3058, which take five bytes, plus what the bits that say "more
-- to come" are worth; nil for any other. Most comparisons need no more.
local function quick(time)
  local tag, a, b, c, d, e, tag_of_nanos = byte(time, 1, 7)
  if tag == 8 and e and a > 127 and b > 127 and c > 127 and d > 127 and e < 128 and e > 0
    and (tag_of_nanos == 16 or not tag_of_nanos) then
    return a + b * 128 + c * 16384 + d * 2097152 + e * 268435456
  end
end

-- 1: the new row wins; 0: equal; -1: it is older; nil: the stored time cannot be read.
local function compare(new, stored)
  local s = quick(stored)
  if s then
    if new == stored then return 0 end
    local seconds = quick(new)
    if seconds and seconds ~= s then return seconds > s and 1 or -1 end
  end
  local s, n = decode(stored)
  if not s then return nil end
  if s < 0 or (s == 0 and n <= 0) then return 1 end
  if new == stored then return 0 end
  local seconds, nanos = decode(new)
  if seconds ~= s then return seconds > s and 1 or -1 end
  if nanos ~= n then return nanos > n and 1 or -1 end
  return 0
end

-- Lua's C stack holds 8000 values; the fields of a wide row are removed in pieces.
local PIECE = 4000
local fields = {@fields}

local function remove_features(key)
  for from = 1, features, PIECE do
    local reply = run('HDEL', key, unpack(fields, from, math.min(from + PIECE - 1, features)))
    if type(reply) == 'table' then return reply end
  end
end

local written, older, equal, buried, equal_dead, unset = 0, 0, 0, 0, 0, 0
for i = 1, #KEYS - @extra do
  local key, time = KEYS[i], ARGV[at + 1]
  local tombstone = dead ~= '' and byte(dead, i) == 49
  local verdict = 1
  if @compares then
    local stored = run('HGET', key, stamp)
    if stored then
      if type(stored) == 'table' then return failed(i, stored) end
      verdict = compare(time, stored)
      if not verdict then return failed(i, {err = 'BADTIME stored event time'}) end
      @correct
    else
      unset = unset + 1
    end
  end
  if verdict == 1 then
    local problem
    if tombstone then
      -- The event time first, so that the hash, and with it its TTL, never goes in between.
      problem = run('HSET', key, stamp, time)
      if type(problem) ~= 'table' then problem = remove_features(key) end
      buried = buried + 1
    else
      @set
      written = written + 1
    end
    if type(problem) == 'table' then return failed(i, problem) end
    if ttl > 0 then run('EXPIRE', key, ttl) end
  elseif verdict == 0 then
    if tombstone then equal_dead = equal_dead + 1 else equal = equal + 1 end
  else
    older = older + 1
  end
  at = at + 1 + (tombstone and 0 or features)
end
return {written, older, equal, buried, equal_dead, unset}
