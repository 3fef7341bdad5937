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
-- include any clock job

if ARGV[3] == 'seats' then
  local found = call('SSCAN', P .. 'workers', ARGV[4], 'COUNT', ARGV[5])
  local answer = {found[1]}
  for _, worker in ipairs(found[2]) do
    local seat = call('HMGET', P .. 'w:' .. worker, 'info', 'seen', 'drain')
    if seat[1] and seat[2] and now - seat[2] < tonumber(ARGV[6]) then
      answer[#answer + 1] = worker
      answer[#answer + 1] = seat[1]
      answer[#answer + 1] = seat[2]
      answer[#answer + 1] = seat[3] or '0'
    end
  end
  return answer
end

local to = ARGV[4] + ARGV[5]
local leases = call('ZRANGE', P .. 'leases', ARGV[4], to - 1)
local over, counts = {}, {}
for _, member in ipairs(leases) do
  local id, worker = string.match(member, '^(%x+)/%d+/%d+ (.*)$')
  if over[id] == nil then
    local j = load_job(id)
    over[id] = not j or j.cancelled == 1
  end
  if not over[id] then counts[worker] = (counts[worker] or 0) + 1 end
end
local answer = {#leases == tonumber(ARGV[5]) and string.format('%d', to) or '0'}
for worker, count in pairs(counts) do
  answer[#answer + 1] = worker
  answer[#answer + 1] = count
end
return answer
