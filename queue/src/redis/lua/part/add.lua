-- Puts a job in. Arguments from ARGV[3] on:
-- ARGV[3]  request id
-- ARGV[4]  job
-- ARGV[5]  user
-- ARGV[6]  name, user and layers as JSON, for snapshots
-- ARGV[7]  priority
-- ARGV[8]  when it was submitted, ms; '' for now
-- ARGV[9]  '0' active, '1' paused, '2' cancelled
-- ARGV[10] number of layers
-- then for each layer: tasks, kind, needs, done tasks, ready members, the least of them
-- then for each chunk of a bitmap: `<layer>/<d or r><chunk>`, bytes
local function add_job()
  local id, user = ARGV[4], ARGV[5]
  local number = call('HINCRBY', KEYS[1], 'numbers', 1)
  local size = tonumber(ARGV[10])
  local j = {
    id = id, key = P .. 'j:' .. id, layers = {}, number = number, priority = tonumber(ARGV[7]),
    state = -1, submitted = tonumber(ARGV[8]) or now, finished = 0,
    paused = ARGV[9] == '1' and 1 or 0, started = 0, cancelled = ARGV[9] == '2' and 1 or 0,
    size = size, open = 0, offers = 0, failed = 0,
  }
  call('HSET', j.key, 'request', ARGV[3], 'user', user, 'spec', ARGV[6])
  for at = 0, size - 1 do
    local arg = 11 + 6 * at
    local base = P .. 'b:' .. id .. '/' .. at .. '/'
    local tasks, done = tonumber(ARGV[arg]), tonumber(ARGV[arg + 3])
    j.layers[at] = {
      at = at, field = 'L' .. at, map = base, tasks = tasks,
      kind = tonumber(ARGV[arg + 1]), above = at + 1 < size and tonumber(ARGV[arg + 7]) or -1,
      cursor = 0, done = done, failed = 0, leased = 0, delayed = 0, ready = tonumber(ARGV[arg + 4]), low = tonumber(ARGV[arg + 5]),
      ahead = done, offered = 0, changed = true,
    }
    call('HSET', j.key, 'c' .. at, ARGV[arg + 2])
    if done < tasks then j.open = j.open + 1 end
  end
  for arg = 11 + 6 * size, #ARGV, 2 do
    call('SET', P .. 'b:' .. id .. '/' .. ARGV[arg], ARGV[arg + 1])
  end

  -- A user who comes back after a pause starts level with those who are here.
  local users = call('HGETALL', P .. 'users')
  local least
  local here = false
  for i = 1, #users, 2 do
    here = here or users[i] == user
    local served = tonumber(call('HGET', P .. 'served', users[i])) or 0
    least = math.min(least or served, served)
  end
  if not here then
    local served = tonumber(call('HGET', P .. 'served', user)) or 0
    call('HSET', P .. 'served', user, math.max(served, least or 0))
  end

  -- Counted as live until its state says otherwise, without telling of that.
  call('ZADD', P .. 'jobs', number, id)
  call('ZADD', P .. 'live', number, id)
  call('HINCRBY', P .. 'users', user, 1)
  call('HSET', P .. 'requests', ARGV[3], id)
  event('S ' .. id)
  local opened = 0
  for at = 0, size - 1 do
    local l = j.layers[at]
    offer_layer(j, l)
    if j.paused == 0 and j.cancelled == 0 then opened = opened + available(j, l) end
  end
  settle_state(j)
  events[2] = nil
  store_job(j)
  if opened > 0 then wake(opened) end
  publish()
end
