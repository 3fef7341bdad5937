-- The time in milliseconds: the server's own, never a client's. Tests that turn the clock
-- give another one as ARGV[2]; else that is '0'.
local now = tonumber(ARGV[2])
if now == 0 then
  local clock = call('TIME')
  now = clock[1] * 1000 + math.floor(clock[2] / 1000)
end
