-- Takes up to `most` neighbouring tasks of one layer for a worker, as the lease `name`. Answers
--   {'work', '<job> <layer> <first> <expires> <attempt of all, or of each, with commas> <name>
--     <how many>'}
--   {'nothing', <work seen>, <ms until a task may be ready, or -1>}
-- What is given is stored by `store_given`, and jobs by part/held.lua.
local expires = now + ARGV[4]
local expires_text = string.format('%.0f', expires)
-- Fields of `leases`, members of `ends`, and how many tasks of whom.
local records, ends = {}, {}
local served_user, served = nil, 0

local function store_served()
  if served > 0 then call('HINCRBY', P .. 'served', served_user, served) end
  served = 0
end

local function store_given()
  if records[1] then
    call('HSET', LEASES, unpack(records))
    call('ZADD', ENDS, unpack(ends))
  end
  store_served()
end

-- The farm's `sole`, read once: job, layer, user and needs where there is one group of one user,
-- so no choice. Kinds of worker that can do it, or not.
local sole = {}

-- Whose turn it is: job, layer, user; and the needs, if they may become the `sole`.
local function whose_turn(kind)
  if farm[5] then
    if sole.text ~= farm[5] then
      local id, at, user, rest = struct.unpack('<c32BBc0', farm[5])
      sole = {text = farm[5], id = id, at = at, user = user, needs = string.sub(farm[5], rest)}
    end
    if sole[kind] == nil then sole[kind] = fits(sole.needs, kind.memory, kind.tags) end
    if sole[kind] then return sole.id, sole.at, sole.user end
    return
  end
  local groups = call('ZRANGE', P .. 'ready', 0, 1)
  local users = groups[1] and not groups[2] and call('ZRANGE', P .. 'u:' .. groups[1], 0, 1)
  local user, needs, offer
  if users and not users[2] then
    needs, user = string.match(groups[1], '|(.*)$'), users[1]
    if fits(needs, kind.memory, kind.tags) then
      offer = call('ZRANGE', P .. 'o:' .. groups[1] .. '|' .. user, 0, 0)[1]
    end
  elseif groups[1] then
    -- include choose
    store_served()
    user, offer = choose(kind.memory, kind.tags, kind.loaded)
    needs = nil
  end
  if not offer then return end
  local id, at = string.match(offer, '^(%x+)/(%d+)$')
  return id, tonumber(at), user, needs
end

local function lease(request, worker, kind, most, name)
  local id, at, user, needs = whose_turn(kind)
  if not id then
    -- include nothing
    return nothing(kind)
  end
  local j = job_of(id, at)
  local l = layer(j, at)
  local first, n, attempts, attempts_text = l.cursor, most, '\1\0\0\0', '1'
  local named = id .. ' ' .. at .. ' '
  if (l.kind == 0 or l.kind == 3) and l.ready == 0 and l.ahead == 0 and l.cursor + n < l.tasks
    and j.state == 1 then
    -- As almost always: fresh tasks of a running job, and some are left.
    l.cursor, l.leased, l.changed = first + n, l.leased + n, true
    named = named .. first .. ' '
    event('L ' .. worker .. ' ' .. named .. n)
    if needs then
      farm[5] = struct.pack('<c32BBc0', id, at, #user, user) .. needs
      call('HSET', KEYS[1], 'sole', farm[5])
    end
  else
    -- include bitmap offers entries tasks take
    local cursor, single = l.cursor, l.kind == 1 or l.kind == 2
    local taken = take(j, l, n)
    first, n = taken[1], #taken
    l.leased, l.changed = l.leased + n, true
    named = named .. first .. ' '
    event('L ' .. worker .. ' ' .. named .. n)
    local each, packed, fields, is_fresh = {}, {}, {}, true
    for i, index in ipairs(taken) do
      local entry = {state = 'L', attempt = 1, failures = 0, time = 0, error = ''}
      -- Only what is below the cursor has been leased before.
      local old = (index < cursor or single) and call('HGET', j.key, at .. '/' .. index)
      if old then
        entry = read_entry(old)
        entry.state, entry.attempt, is_fresh = 'L', entry.attempt + 1, false
      end
      if old or single then
        fields[#fields + 1], fields[#fields + 2] = at .. '/' .. index, pack_entry(entry)
      end
      each[i], packed[i] = entry.attempt, struct.pack('<I4', entry.attempt)
    end
    if fields[1] then call('HSET', j.key, unpack(fields)) end
    if not is_fresh then
      attempts, attempts_text = table.concat(packed), table.concat(each, ',')
    end
    j.started = 1
    offer_layer(j, l)
    settle_state(j)
    if l.offered == 0 and call('EXISTS', P .. 'ready') == 0 then
      call('PUBLISH', P .. 'wake', 'taken ' .. (farm[2] or 0))
    end
  end

  local last = #records
  records[last + 1], records[last + 2] = name, struct.pack(RECORD, id, j.number, at, first, expires,
    #worker, worker, #request, request, n, string.rep('r', n), #attempts, attempts)
  records[last + 3], records[last + 4] = request, name
  ends[last / 2 + 1], ends[last / 2 + 2] = expires_text, name
  if served_user ~= user then
    store_served()
    served_user = user
  end
  served = served + n
  return told(named, expires_text, attempts_text, name, n)
end
