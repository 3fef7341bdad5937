-- The time in milliseconds, as a number and as text: the server's own, never a client's. Tests
-- that turn the clock give another one as ARGV[2]; else that is '0'.
local now_text = ARGV[2]
if now_text == '0' then
  local clock = call('TIME')
  now_text = clock[1] .. string.sub('00000' .. clock[2], -6, -4)
end
local now = tonumber(now_text)
