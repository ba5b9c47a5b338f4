-- The interval that is being corrected: the four arguments before the token.
local from_s, from_n = tonumber(ARGV[#ARGV - 4]), tonumber(ARGV[#ARGV - 3])
local to_s, to_n = tonumber(ARGV[#ARGV - 2]), tonumber(ARGV[#ARGV - 1])
local function inside(s, n)
  return (s > from_s or (s == from_s and n >= from_n)) and (s < to_s or (s == to_s and n < to_n))
end
