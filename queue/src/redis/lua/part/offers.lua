-- The index of what can be leased: `ready` has `<priority>|<needs>` by falling priority;
-- `u:<that>` its users by tasks served, a number never above the true one; and
-- `o:<that>|<user>` the user's `<job>/<layer>`, the oldest job and highest layer first.
-- The farm's `sole` is what part/lease.lua has found there, where that was one group of one user.

local function forget_sole()
  farm[5] = false
  call('HDEL', KEYS[1], 'sole')
end

local function index(j, l)
  local names = call('HMGET', j.key, 'user', 'c' .. l.at)
  local group = string.format('%d|%s', j.priority, names[2])
  return group, names[1], P .. 'o:' .. group .. '|' .. names[1], j.id .. '/' .. l.at
end

local function list(j, l)
  local group, user, offers, member = index(j, l)
  forget_sole()
  call('ZADD', offers, j.number * 256 + 255 - l.at, member)
  call('ZADD', P .. 'u:' .. group, 'NX', call('HGET', P .. 'served', user) or 0, user)
  call('ZADD', P .. 'ready', -j.priority, group)
end

local function unlist(j, l)
  local group, user, offers, member = index(j, l)
  forget_sole()
  call('ZREM', offers, member)
  if call('EXISTS', offers) == 0 then
    call('ZREM', P .. 'u:' .. group, user)
    if call('EXISTS', P .. 'u:' .. group) == 0 then
      call('ZREM', P .. 'ready', group)
    end
  end
end

local function waiting(l)
  return l.tasks - l.done - l.failed - l.leased - l.delayed
end

-- Whether every layer below is done.
local function all_below(j, l)
  for at = l.at - 1, 0, -1 do
    local below = layer(j, at)
    if below.done < below.tasks then return false end
  end
  return true
end

-- How many tasks of the layer can be leased now.
local function available(j, l)
  if l.kind == 1 or l.kind == 2 then
    return l.ready
  end
  if l.kind == 3 and not all_below(j, l) then return 0 end
  return waiting(l)
end

-- Lists or unlists a layer whose numbers have changed.
local function offer_layer(j, l)
  local offered = available(j, l) > 0 and 1 or 0
  if offered ~= l.offered then
    l.offered = offered
    l.changed = true
    j.offers = j.offers + (offered == 1 and 1 or -1)
    if j.paused == 0 and j.cancelled == 0 then
      if offered == 1 then list(j, l) else unlist(j, l) end
    end
  end
end

-- Whether a task is leased or put off.
local function is_busy(j)
  for at = 0, j.size - 1 do
    local l = layer(j, at)
    if l.leased + l.delayed > 0 then return true end
  end
  return false
end

-- Takes note of the job's new state, if it is new.
local function settle_state(j)
  j.changed = true
  local state
  if j.cancelled == 1 then state = 5
  elseif j.open == 0 then state = 3
  elseif j.failed > 0 and j.offers == 0 and not is_busy(j) then state = 4
  elseif j.paused == 1 then state = 2
  else state = j.started end
  if state == j.state then return end
  local was, over = j.state >= 3, state >= 3
  -- The index of jobs that are over, by how they ended.
  if was then call('ZREM', P .. 'over:' .. j.state, j.id) end
  if over then call('ZADD', P .. 'over:' .. state, j.number, j.id) end
  j.state = state
  j.finished = over and now or 0
  if was ~= over then
    local user = call('HGET', j.key, 'user')
    if over then
      call('ZREM', P .. 'live', j.id)
      if call('HINCRBY', P .. 'users', user, -1) <= 0 then
        call('HDEL', P .. 'users', user)
      end
    else
      call('ZADD', P .. 'live', j.number, j.id)
      call('HINCRBY', P .. 'users', user, 1)
    end
  end
  event('J ' .. j.id .. ' ' .. state)
end
