-- Ends leases that have run out, each of their tasks as a failed attempt.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  at most so many tasks, but one lease whatever it has
-- ARGV[4]  what to say of the worker, after its name
-- ARGV[5]  attempts that may fail
-- ARGV[6]  pause after the first failed attempt, ms
-- ARGV[7]  silence after which a worker is forgotten, ms
-- Answers  {'ok', <'1' when there may be more>, <job, layer, index, outcome>...}
-- include open clock events wake spare job held offers entries record leases store_lease
-- include ended seats

spare()
local most, ended = tonumber(ARGV[3]), 0
local answer = {'ok', '0'}

-- Ends what of a lease has run out. Answers when the rest does, if anything is left.
local function end_tasks(lease)
  local j = job_of(lease.job)
  if not j or j.cancelled == 1 or j.number ~= lease.number then
    -- Left over from a job that was cancelled or forgotten.
    leave(lease, 0, #lease.tasks)
    return
  end
  local l = layer(j, lease.at)
  local rest
  for position = 0, #lease.tasks - 1 do
    if string.byte(lease.tasks, position + 1) == 114 then
      local ends = lease.ends ~= '' and struct.unpack('<d', lease.ends, 8 * position + 1)
      if ends and ends > now then
        rest = math.min(rest or ends, ends)
      else
        local index = lease.first + position
        leave(lease, position, 1)
        local entry = entry_of(j, l, index, attempt_of(lease, position))
        local outcome = end_attempt(j, l, index, entry, {
          message = 'worker ' .. lease.worker .. ARGV[4], retryable = true,
          attempts = tonumber(ARGV[5]), backoff = tonumber(ARGV[6]),
        })
        ended = ended + 1
        answer[4 * ended - 1], answer[4 * ended] = j.id, l.at
        answer[4 * ended + 1], answer[4 * ended + 2] = index, outcome
      end
    end
  end
  return rest
end

local names = call('ZRANGEBYSCORE', ENDS, '-inf', now, 'LIMIT', 0, most)
local records = names[1] and call('HMGET', LEASES, unpack(names)) or {}
for i, name in ipairs(names) do
  if ended >= most then break end
  local lease = read_lease(name, records[i])
  local rest = end_tasks(lease)
  store_lease(lease)
  if rest then call('ZADD', ENDS, rest, name) end
  if i == most then answer[2] = '1' end
end
if ended >= most then answer[2] = '1' end
for _, j in pairs(jobs) do
  if j and j.cancelled == 0 then settle_state(j) end
end
store_jobs()

-- Silent workers are looked for once a minute.
local swept = call('HGET', KEYS[1], 'swept')
if not swept or math.abs(now - swept) >= 60000 then
  call('HSET', KEYS[1], 'swept', now)
  local seats = call('HGETALL', SEATS)
  for i = 1, #seats, 2 do
    local _, seen = read_seat(seats[i + 1])
    if not seen or now - seen >= tonumber(ARGV[7]) then call('HDEL', SEATS, seats[i]) end
  end
end
publish()
return answer
