-- Writes rows of one view; of two rows of one entity the newer wins, whoever else is writing.
--
-- KEYS  the rows' keys
-- ARGV  1 timestamp field, 2 TTL in seconds (0: none), 3 '1' to compare event times or '0' to
--       write always, 4 one digit a row ('1': tombstone) or empty when there is none,
--       5 number of features, then their fields, then a row at a time: event time as a serialized
--       google.protobuf.Timestamp and, unless it is a tombstone, one value a feature
-- Returns rows written, rows older than what is stored, rows equal in time to what is stored,
--       tombstones written, tombstones equal in time to what is stored.
-- An error ends with the row's number, so that the caller can name the key. Rows before it are
-- written, which is harmless: they are found equal when the call is repeated.

local run, byte = redis.pcall, string.byte
local stamp, ttl, compares, dead = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', ARGV[4]
local features = tonumber(ARGV[5])
local at = 5 + features

-- Fields and values in turn, the timestamp last: where a row takes several commands, its event
-- time must not stand before all its values do.
local row, fields = {}, {}
for i = 1, features do
  fields[i] = ARGV[5 + i]
  row[2 * i - 1] = fields[i]
end
row[2 * features + 1] = stamp
-- Lua's C stack holds 8000 values; a wide row is set in pieces.
local PIECE = 4000

local function failed(i, reply)
  return redis.error_reply((string.gsub(reply.err, '^%-', '')) .. ' [row ' .. (i - 1) .. ']')
end

-- Seconds and nanoseconds apart: a double holds no 64-bit number of nanoseconds. The first seven
-- bytes of a varint are 49 bits, more than any Timestamp has; a tenth byte means a minus.
local function decode(time)
  local seconds, nanos, i, n = 0, 0, 1, #time
  while i <= n do
    local tag, number, scale, count, b = byte(time, i), 0, 1, 0, 0
    repeat
      i, count = i + 1, count + 1
      b = byte(time, i)
      if not b or count > 10 then return nil end
      if count <= 7 then
        number = number + b % 128 * scale
        scale = scale * 128
      end
    until b < 128
    if count == 10 then number = number - scale end
    if tag == 8 then seconds = number elseif tag == 16 then nanos = number else return nil end
    i = i + 1
  end
  return seconds, nanos
end

-- 1: the new row wins; 0: equal; -1: it is older; nil: the stored time cannot be read.
local function compare(new, stored)
  local s, n = decode(stored)
  if not s then return nil end
  if s < 0 or (s == 0 and n <= 0) then return 1 end
  if new == stored then return 0 end
  local seconds, nanos = decode(new)
  if seconds ~= s then return seconds > s and 1 or -1 end
  if nanos ~= n then return nanos > n and 1 or -1 end
  return 0
end

local function in_pieces(command, key, list, count)
  for from = 1, count, PIECE do
    local reply = run(command, key, unpack(list, from, math.min(from + PIECE - 1, count)))
    if type(reply) == 'table' then return reply end
  end
end

local written, older, equal, buried, equal_dead = 0, 0, 0, 0, 0
for i = 1, #KEYS do
  local key, time = KEYS[i], ARGV[at + 1]
  local tombstone = dead ~= '' and byte(dead, i) == 49
  local verdict = 1
  if compares then
    local stored = run('HGET', key, stamp)
    if type(stored) == 'table' then return failed(i, stored) end
    if stored then
      verdict = compare(time, stored)
      if not verdict then return failed(i, {err = 'BADTIME stored event time'}) end
    end
  end
  if verdict == 1 then
    local problem
    if tombstone then
      -- The event time first, so that the hash, and with it its TTL, never goes in between.
      problem = in_pieces('HSET', key, {stamp, time}, 2) or in_pieces('HDEL', key, fields, features)
      buried = buried + 1
    else
      for j = 1, features do row[2 * j] = ARGV[at + 1 + j] end
      row[2 * features + 2] = time
      problem = in_pieces('HSET', key, row, 2 * features + 2)
      written = written + 1
    end
    if problem then return failed(i, problem) end
    if ttl > 0 then run('EXPIRE', key, ttl) end
  elseif verdict == 0 then
    if tombstone then equal_dead = equal_dead + 1 else equal = equal + 1 end
  else
    older = older + 1
  end
  at = at + 1 + (tombstone and 0 or features)
end
return {written, older, equal, buried, equal_dead}
