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
