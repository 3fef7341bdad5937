-- Ends leases that have run out, each as a failed attempt.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  at most so many
-- ARGV[4]  what to say of the worker, after its name
-- ARGV[5]  attempts that may fail
-- ARGV[6]  pause after the first failed attempt, ms
-- ARGV[7]  silence after which a worker is forgotten, ms
-- Answers  {'ok', <'1' when there may be more>, <job, layer, index, outcome>...}
-- include open clock events wake spare job offers entries ended

spare()
local answer = {'ok', '0'}
local over = call('ZRANGEBYSCORE', P .. 'leases', '-inf', now, 'LIMIT', 0, ARGV[3])
if #over == tonumber(ARGV[3]) then answer[2] = '1' end
local jobs = {}
for _, member in ipairs(over) do
  local id, at, index, worker = string.match(member, '^(%x+)/(%d+)/(%d+) (.*)$')
  local j = jobs[id]
  if j == nil then
    j = load_job(id)
    jobs[id] = j
  end
  if j and j.cancelled == 0 then
    local l = layer(j, tonumber(at))
    local entry = read_entry(call('HGET', j.key, at .. '/' .. index))
    local outcome = end_attempt(j, l, tonumber(index), entry, {
      message = 'worker ' .. worker .. ARGV[4], retryable = true,
      attempts = tonumber(ARGV[5]), backoff = tonumber(ARGV[6]),
    })
    answer[#answer + 1] = id
    answer[#answer + 1] = at
    answer[#answer + 1] = index
    answer[#answer + 1] = outcome
  else
    -- Left over from a job that was cancelled or forgotten.
    call('ZREM', P .. 'leases', member)
  end
end
for _, j in pairs(jobs) do
  if j and j.cancelled == 0 then
    settle_state(j)
    store_job(j)
  end
end

-- Silent workers are looked for once a minute.
local swept = call('HGET', KEYS[1], 'swept')
if not swept or math.abs(now - swept) >= 60000 then
  call('HSET', KEYS[1], 'swept', now)
  for _, worker in ipairs(call('SMEMBERS', P .. 'workers')) do
    local seen = call('HGET', P .. 'w:' .. worker, 'seen')
    if not seen or now - seen >= tonumber(ARGV[7]) then
      call('UNLINK', P .. 'w:' .. worker)
      call('SREM', P .. 'workers', worker)
    end
  end
end
publish()
return answer
