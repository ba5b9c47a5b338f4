-- Whether one decimal number of up to twenty digits is above another: in halves, each of which a
-- double holds. What is no number is below all.
local function above(a, b)
  local function halves(n)
    return tonumber(string.sub(n, 1, -11)) or 0, tonumber(string.sub(n, -10)) or 0
  end
  local a1, a2 = halves(a)
  local b1, b2 = halves(b)
  return a1 > b1 or (a1 == b1 and a2 > b2)
end
