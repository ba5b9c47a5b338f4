-- Refuses the whole call unless the fence, the last key, is exactly the token, the last argument.
local fence = redis.pcall('GET', KEYS[#KEYS])
if type(fence) == 'table' then return fence end
if fence ~= ARGV[#ARGV] then return redis.error_reply('FENCED ' .. (fence or '')) end
