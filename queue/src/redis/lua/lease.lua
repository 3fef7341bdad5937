-- Takes up to n neighbouring tasks of one layer for a worker.
-- KEYS[1]   the farm's own hash
-- ARGV[1]   epoch
-- ARGV[2]   the time, see part/clock.lua
-- ARGV[3]   request id
-- ARGV[4]   worker id
-- ARGV[5]   the worker as JSON
-- ARGV[6]   its memory in bytes
-- ARGV[7]   its tags, `,a,b,`
-- ARGV[8]   its loaded models, `\na\nb\n`
-- ARGV[9]   n
-- ARGV[10]  n tokens of 16 hexadecimal digits, one after the other
-- ARGV[11]  how long a lease lasts, ms
-- Answers   {'work', '<job> <layer> <first> <expires> <attempt>,<attempt> <tokens>'}
--           {'nothing', <work seen>, <ms until a task may be ready, or -1>}
--           {'drain'}

-- Tasks that a user may be ahead of another before a worker unloads its models.
local SLACK = 16

local seat = P .. 'w:' .. ARGV[4]
local known = call('HMGET', seat, 'request', 'lease', 'drain', 'seen')
if not known[4] then
  spare()
  call('SADD', P .. 'workers', ARGV[4])
end
if known[1] == ARGV[3] then
  spare()
  call('HSET', seat, 'info', ARGV[5], 'seen', now)
  return {'work', known[2]}
end
if known[3] == '1' then
  spare()
  call('HSET', seat, 'info', ARGV[5], 'seen', now)
  return {'drain'}
end
local memory = tonumber(ARGV[6])

-- The user of a group who has had least, and how much. The group's own numbers may be old:
-- they are put right from the top until the top one is right.
local function least(group, exact)
  local users = P .. 'u:' .. group
  while true do
    local top = call('ZRANGE', users, 0, 1, 'WITHSCORES')
    if not exact and not top[3] then return top[1], 0 end
    local served = tonumber(call('HGET', P .. 'served', top[1])) or 0
    if served <= tonumber(top[2]) then return top[1], served end
    call('ZADD', users, served, top[1])
  end
end

-- Whether offer a goes before offer b of the same priority.
local function before(a, b)
  local x, y = math.floor(a.served / SLACK), math.floor(b.served / SLACK)
  if x ~= y then return x < y end
  if a.loaded ~= b.loaded then return a.loaded end
  if a.served ~= b.served then return a.served < b.served end
  if a.user ~= b.user then return a.user < b.user end
  return a.age < b.age
end

local function choose()
  local best
  local from = 0
  while true do
    local groups = call('ZRANGE', P .. 'ready', from, from + 15)
    local exact = from > 0 or groups[2]
    for _, group in ipairs(groups) do
      local priority, needs = string.match(group, '^(-?%d+)|(.*)$')
      if best and priority ~= best.priority then return best end
      local fit, loaded = fits(needs, memory, ARGV[7], ARGV[8])
      if fit then
        local user, served = least(group, exact)
        local oldest = call('ZRANGE', P .. 'o:' .. group .. '|' .. user, 0, 0, 'WITHSCORES')
        local offer = {
          priority = priority, user = user, served = served, loaded = loaded,
          layer = oldest[1], age = tonumber(oldest[2]),
        }
        if not best or before(offer, best) then best = offer end
      end
    end
    if #groups < 16 then return best end
    from = from + 16
  end
end

-- Up to n tasks from the first that can be leased: {index...}. In a chain each follows the
-- one before it in the same lease.
local function take(j, l, n)
  local whole = l.kind == 0 or l.kind == 3
  local taken = {}
  local again = l.ready > 0 and seek(l.READY, l.low, l.tasks, 1)
  local fresh = whole and l.cursor
  if fresh and l.ahead > 0 then
    fresh = seek(l.DONE, l.cursor, l.tasks, 0) or l.tasks
  end
  if again and not (fresh and fresh < again) then
    l.low = again
    local index = again
    repeat
      taken[#taken + 1] = index
      if cut(l.READY, index) then l.ready = l.ready - 1 end
      index = index + 1
      local goes_on
      if l.kind == 1 then
        goes_on = is_waiting(j, l, index)
      else
        goes_on = has(l.READY, index)
      end
    until #taken == n or index >= l.tasks or not goes_on
    if not whole or index ~= l.cursor or #taken == n then return taken end
  end
  if fresh and fresh < l.tasks and (#taken == 0 or fresh == l.cursor) then
    local stop = math.min(fresh + n - #taken, l.tasks)
    if l.ahead > 0 then
      stop = seek(l.DONE, fresh, stop, 1) or stop
      l.ahead = l.ahead - (fresh - l.cursor)
    end
    for index = fresh, stop - 1 do
      taken[#taken + 1] = index
    end
    l.cursor = stop
  end
  return taken
end

spare()
if farm[3] and tonumber(farm[3]) <= now then
  end_pauses()
end

local offer = choose()
if not offer then
  call('HSET', seat, 'info', ARGV[5], 'seen', now)
  -- When a task that this worker could do may be ready.
  local wait = -1
  local delays = call('ZRANGE', P .. 'delays', 0, 99, 'WITHSCORES')
  for i = 1, #delays, 2 do
    local id, at = string.match(delays[i], '^(%x+)/(%d+)/')
    local j = load_job(id)
    local due = tonumber(delays[i + 1]) - now
    if j and j.paused == 0 and j.cancelled == 0
      and fits(call('HGET', j.key, 'c' .. at), memory, ARGV[7], ARGV[8]) then
      wait = due
      break
    end
    -- There are more: look again by then.
    if i == 199 then wait = due end
  end
  publish()
  return {'nothing', tonumber(farm[2] or 0), wait}
end

local id, at = string.match(offer.layer, '^(%x+)/(%d+)$')
at = tonumber(at)
local key = P .. 'j:' .. id
local numbers = call('HMGET', key, 'J', 'L' .. at)
local j = read_job(id, numbers[1])
local l = read_layer(j, at, numbers[2])
l.changed = true
local fresh_from = l.cursor
local taken = take(j, l, tonumber(ARGV[9]))
local n = #taken
local first = taken[1]

local expires = string.format('%.0f', now + ARGV[11])
local head = struct.pack('<I4I4dBc0', 1, 0, 0, #ARGV[4], ARGV[4])
local attempts = {}
local fields = {}
local leases = {}
for i, index in ipairs(taken) do
  local field = at .. '/' .. index
  local token = string.sub(ARGV[10], 16 * i - 15, 16 * i)
  -- Only what is below the cursor has been leased before.
  local old = not (index >= fresh_from and (l.kind == 0 or l.kind == 3)) and call('HGET', key, field)
  attempts[i] = 1
  fields[2 * i - 1] = field
  if old then
    local entry = read_entry(old)
    entry.state, entry.token, entry.worker = 'L', token, ARGV[4]
    entry.attempt = entry.attempt + 1
    attempts[i] = entry.attempt
    fields[2 * i] = pack_entry(entry)
  else
    fields[2 * i] = 'L' .. token .. head
  end
  leases[2 * i - 1] = expires
  leases[2 * i] = id .. '/' .. field .. ' ' .. ARGV[4]
end
l.leased = l.leased + n
j.busy = j.busy + n
j.started = 1
offer_layer(j, l)
event('L ' .. ARGV[4] .. ' ' .. id .. ' ' .. at .. ' ' .. first .. ' ' .. n)
settle_state(j)
fields[2 * n + 1], fields[2 * n + 2] = 'J', pack_job(j)
fields[2 * n + 3], fields[2 * n + 4] = 'L' .. at, pack_layer(l)
call('HSET', key, unpack(fields))
call('ZADD', P .. 'leases', unpack(leases))
call('HINCRBY', P .. 'served', offer.user, n)
local answer = id .. ' ' .. at .. ' ' .. first .. ' ' .. expires .. ' '
  .. table.concat(attempts, ',') .. ' ' .. string.sub(ARGV[10], 1, 16 * n)
call('HSET', seat, 'info', ARGV[5], 'seen', now, 'request', ARGV[3], 'lease', answer)
if l.offered == 0 and call('EXISTS', P .. 'ready') == 0 then
  call('PUBLISH', P .. 'wake', 'taken ' .. (farm[2] or 0))
end
publish()
return {'work', answer}
