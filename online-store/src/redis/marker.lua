-- Notes a commit, unless a later one is noted, or what was written before it may be gone: then the
-- older marker has to stay, because it tells so.
--
-- KEYS  1 the marker, 2 the nonce; of a fenced view the fence after them
-- ARGV  1 the commit's sequence, 2 its attempt, 3 the run ids of the servers that took the rows, or
--       nothing when they do not tell, 4 the nonce, or nothing when none is known here; of a fenced
--       view the token after them
@guard
@above
if ARGV[3] ~= '' then
  local info = redis.pcall('INFO', 'server')
  local id = type(info) == 'string' and string.match(info, 'run_id:(%x+)')
  if id and not string.find(ARGV[3], id, 1, true) then
    return redis.error_reply('REPLACED ' .. id)
  end
end
if ARGV[4] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[4] then
  return redis.error_reply('EMPTIED of what was there')
end
local stored = redis.call('GET', KEYS[1])
if stored and above(string.match(stored, '^%d+') or '', ARGV[1]) then
  return redis.error_reply('AHEAD ' .. stored)
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2])
return redis.status_reply('OK')
