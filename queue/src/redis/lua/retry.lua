-- Gives tasks a fresh set of attempts.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  job
-- ARGV[4]  request id
-- ARGV[5]  for how long answers are remembered, ms
-- ARGV[6]  layer, or 'failed' for all failed tasks
-- ARGV[7]… indices; for 'failed' at most how many at once
-- Answers  {'ok', <how many>, <how many failed tasks are left>}, {'nojob'}, {'cancelled'},
--          {'notask', <index>}
-- include open clock events wake spare bitmap job offers entries tasks settle settled

local how = settled('q' .. ARGV[4], ARGV[5])
if how then
  local count, left = string.match(how, '^(%d+) (%d+)$')
  return {'ok', tonumber(count), tonumber(left)}
end
local j = load_job(ARGV[3])
if not j then return {'nojob'} end
if j.cancelled == 1 then return {'cancelled'} end
local failed = P .. 'f:' .. j.id
local tasks = {}
if ARGV[6] == 'failed' then
  for _, field in ipairs(call('ZRANGE', failed, 0, ARGV[7] - 1)) do
    local at, index = string.match(field, '^(%d+)/(%d+)$')
    tasks[#tasks + 1] = {tonumber(at), tonumber(index)}
  end
else
  local at = tonumber(ARGV[6])
  for i = 7, #ARGV do
    if at >= j.size or tonumber(ARGV[i]) >= layer(j, at).tasks then
      return {'notask', ARGV[i]}
    end
    tasks[#tasks + 1] = {at, tonumber(ARGV[i])}
  end
end

spare()
local count, opened = 0, 0
for _, task in ipairs(tasks) do
  local l, index = layer(j, task[1]), task[2]
  local field = l.at .. '/' .. index
  local reset, undone = false, false
  local packed = call('HGET', j.key, field)
  if packed then
    local entry = read_entry(packed)
    entry.failures = 0
    if entry.state == 'F' then
      entry.state = 'W'
      l.failed = l.failed - 1
      j.failed = j.failed - 1
      call('ZREM', failed, field)
      reset = true
    end
    call('HSET', j.key, field, pack_entry(entry))
  end
  if cut(l.map .. 'd', index) then
    if l.done == l.tasks then j.open = j.open + 1 end
    l.done = l.done - 1
    if index >= l.cursor then l.ahead = l.ahead - 1 end
    reset, undone = true, true
    -- What followed it waits again.
    offer_after(j, l, index)
  end
  if reset then
    count = count + 1
    l.changed = true
  end
  opened = opened + offer(j, l, index, undone)
end
for at = 0, j.size - 1 do
  offer_layer(j, layer(j, at))
end
settle_state(j)
store_job(j)
local left = call('ZCARD', failed)
settle('q' .. ARGV[4], count .. ' ' .. left, ARGV[5])
if opened > 0 then wake(opened) end
publish()
return {'ok', count, left}
