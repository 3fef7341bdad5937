-- Takes up to n neighbouring tasks of one layer for a worker.
-- ARGV[from]    request id
-- ARGV[from+1]  worker id
-- ARGV[from+2]  the worker as JSON
-- ARGV[from+3]  its memory in bytes
-- ARGV[from+4]  its tags, `,a,b,`
-- ARGV[from+5]  its loaded models, `\na\nb\n`
-- ARGV[from+6]  n
-- ARGV[from+7]  n tokens of 16 hexadecimal digits, one after the other, that count up in their
--               last three
-- Answers   {'work', '<job> <layer> <first> <expires> <attempt of all, or of each, with commas>
--           <tokens>'}
--           {'nothing', <work seen>, <ms until a task may be ready, or -1>}
--           {'drain'}
--           {'due'}: some pauses are over; call end_pauses.lua, then ask again
-- `unstored` is what part/commit.lua has left to be stored. It is one write with the lease, where
-- that is of the same layer.
local function lease(from, lasts, unstored)
  local request, worker_id, info, memory, tags, loaded, most, tokens = unpack(ARGV, from, from + 7)
  memory = tonumber(memory)
  local function store()
    if unstored then store_layer(unstored) end
    unstored = nil
  end
  -- A full server takes what begins with a write that frees.
  if not unstored then call('SREM', P .. 'workers', '') end

  local seat = P .. 'w:' .. worker_id
  local worker = call('HMGET', seat, 'seen', 'request', 'drain')
  if worker[2] == request or worker[3] == '1' then
    store()
    call('HSET', seat, 'info', info, 'seen', now_text)
    if worker[2] == request then return {'work', call('HGET', seat, 'lease')} end
    return {'drain'}
  end
  if farm[3] and tonumber(farm[3]) <= now then
    store()
    return {'due'}
  end
  if not worker[1] then call('SADD', P .. 'workers', worker_id) end

  -- Whose turn it is. Where there is one group of one user there is no choice.
  local id, at, user, needs
  if farm[5] then
    id, at, user, needs = string.match(farm[5], '^(%x+)/(%d+)|([^|]*)|(.*)$')
    if not fits(needs, memory, tags) then id = nil end
  else
    local groups = call('ZRANGE', P .. 'ready', 0, 1)
    local users = groups[1] and not groups[2] and call('ZRANGE', P .. 'u:' .. groups[1], 0, 1)
    local offer
    if users and not users[2] then
      needs, user = string.match(groups[1], '|(.*)$'), users[1]
      if fits(needs, memory, tags) then
        offer = call('ZRANGE', P .. 'o:' .. groups[1] .. '|' .. user, 0, 0)[1]
      end
    elseif groups[1] then
      -- include choose
      user, offer = choose(memory, tags, loaded)
      needs = nil
    end
    if offer then id, at = string.match(offer, '^(%x+)/(%d+)$') end
  end

  if not id then
    store()
    call('HSET', seat, 'info', info, 'seen', now_text)
    -- When a task that this worker could do may be ready.
    -- include job
    local wait = -1
    local delays = call('ZRANGE', P .. 'delays', 0, 99, 'WITHSCORES')
    for i = 1, #delays, 2 do
      local delayed, layer_at = string.match(delays[i], '^(%x+)/(%d+)/')
      local j = load_job(delayed)
      local due = tonumber(delays[i + 1]) - now
      if j and j.paused == 0 and j.cancelled == 0
        and fits(call('HGET', j.key, 'c' .. layer_at), memory, tags) then
        wait = due
        break
      end
      -- There are more: look again by then.
      if i == 199 then wait = due end
    end
    return {'nothing', tonumber(farm[2] or 0), wait}
  end

  local key, layer_field = P .. 'j:' .. id, 'L' .. at
  local job_numbers, numbers
  if unstored and unstored.key == key and unstored.field == layer_field then
    job_numbers, numbers = unstored.job_numbers, unstored.numbers
  else
    store()
    local found = call('HMGET', key, 'J', layer_field)
    job_numbers, numbers = found[1], {struct.unpack('<dddddddddddd', found[2])}
  end
  local n = tonumber(most)
  local entries, fields, leases, size = {}, {}, {}, 0
  local attempts = '1'
  local first
  local told = 'L ' .. worker_id .. ' ' .. id .. ' ' .. at .. ' '

  local tasks, kind, above, cursor, done, failed, leased, delayed, ready, low, ahead, offered =
    unpack(numbers)
  if (kind == 0 or kind == 3) and ready == 0 and ahead == 0 and cursor + n < tasks
    and struct.unpack('<d', job_numbers, 17) == 1 then
    -- As almost always: fresh tasks of a running job, and some are left. As part/job.lua packs
    -- them, but without its tables.
    first = cursor
    fields[1], fields[2], size = layer_field, struct.pack('<dddddddddddd', tasks, kind, above,
      cursor + n, done, failed, leased + n, delayed, ready, low, ahead, offered), 2
    event(told .. first .. ' ' .. n)
    if needs and not farm[5] then
      farm[5] = id .. '/' .. at .. '|' .. user .. '|' .. needs
      call('HSET', KEYS[1], 'sole', farm[5])
    end
  else
    store()
    -- include bitmap job offers entries tasks take
    local j = read_job(id, job_numbers)
    local l = layer(j, tonumber(at))
    local taken = take(j, l, n)
    first, n = taken[1], #taken
    event(told .. first .. ' ' .. n)
    local each = {}
    for i, index in ipairs(taken) do
      each[i] = 1
      -- Only what is below the cursor has been leased before.
      local old = (index < cursor or kind == 1 or kind == 2)
        and call('HGET', key, at .. '/' .. index)
      if old then
        local entry = read_entry(old)
        entry.state, entry.token, entry.worker = 'L', string.sub(tokens, 16 * i - 15, 16 * i), worker_id
        entry.attempt = entry.attempt + 1
        each[i], entries[i] = entry.attempt, pack_entry(entry)
      end
    end
    attempts = table.concat(each, ',')
    l.leased = l.leased + n
    l.changed = true
    j.started = 1
    offer_layer(j, l)
    settle_state(j)
    store_job(j)
    if l.offered == 0 and call('EXISTS', P .. 'ready') == 0 then
      call('PUBLISH', P .. 'wake', 'taken ' .. (farm[2] or 0))
    end
  end

  local expires = string.format('%.0f', now + lasts)
  local head = struct.pack('<I4I4dBc0', 1, 0, 0, #worker_id, worker_id)
  local begins, holder = at .. '/', ' ' .. worker_id
  local sub = string.sub
  for i = 1, n do
    local field = begins .. (first + i - 1)
    fields[size + 1] = field
    fields[size + 2] = entries[i] or 'L' .. sub(tokens, 16 * i - 15, 16 * i) .. head
    size = size + 2
    leases[2 * i - 1] = expires
    leases[2 * i] = id .. '/' .. field .. holder
  end
  call('HSET', key, unpack(fields))
  call('ZADD', P .. 'leases', unpack(leases))
  call('HINCRBY', P .. 'served', user, n)
  local answer = id .. ' ' .. at .. ' ' .. first .. ' ' .. expires .. ' ' .. attempts .. ' '
    .. sub(tokens, 1, 16 * n)
  call('HSET', seat, 'info', info, 'seen', now_text, 'request', request, 'lease', answer)
  return {'work', answer}
end
