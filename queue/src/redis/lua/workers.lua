-- Tells of workers, or counts their running tasks; a part of either at a time.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  ignored
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  'seats' or 'leases'
-- ARGV[4]  where to go on; '0' at first
-- ARGV[5]  about how many
-- ARGV[6]  for 'seats': silence after which a worker is forgotten, ms
-- Answers  for 'seats'  {<where to go on, or '0'>, <id, its JSON, last seen, draining>...}
--          for 'leases' {<where to go on, or '0'>, <id, count>...}
-- include any clock job held record leases seats

if ARGV[3] == 'seats' then
  local found = call('HSCAN', SEATS, ARGV[4], 'COUNT', ARGV[5])
  local answer, seats = {found[1]}, found[2]
  for i = 1, #seats, 2 do
    local drain, seen, info = read_seat(seats[i + 1])
    -- What is none is shown as it is.
    if not seen or now - seen < tonumber(ARGV[6]) then
      local at = #answer
      answer[at + 1], answer[at + 2] = seats[i], info or seats[i + 1]
      answer[at + 3], answer[at + 4] = string.format('%.0f', seen or 0), drain or '0'
    end
  end
  return answer
end

local to = ARGV[4] + ARGV[5]
local names = call('ZRANGEBYSCORE', ENDS, '-inf', '(inf', 'LIMIT', ARGV[4], ARGV[5])
local records = names[1] and call('HMGET', LEASES, unpack(names)) or {}
local counts = {}
for i, name in ipairs(names) do
  local lease = read_lease(name, records[i])
  local j = job_of(lease.job)
  if j and j.cancelled == 0 and j.number == lease.number then
    local _, running = string.gsub(lease.tasks, 'r', '')
    counts[lease.worker] = (counts[lease.worker] or 0) + running
  end
end
local answer = {#names == tonumber(ARGV[5]) and string.format('%d', to) or '0'}
for worker, count in pairs(counts) do
  answer[#answer + 1] = worker
  answer[#answer + 1] = count
end
return answer
