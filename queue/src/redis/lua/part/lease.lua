-- Takes up to n neighbouring tasks of one layer for a worker.
-- ARGV[3]   request id
-- ARGV[4]   worker id
-- ARGV[5]   the worker as JSON
-- ARGV[6]   its memory in bytes
-- ARGV[7]   its tags, `,a,b,`
-- ARGV[8]   its loaded models, `\na\nb\n`
-- ARGV[9]   n
-- ARGV[10]  n tokens of 16 hexadecimal digits, one after the other, see part/committed.lua
-- ARGV[11]  how long a lease lasts, ms
-- Answers   {'work', '<job> <layer> <first> <expires> <attempt of all, or of each, with commas>
--           <tokens>'}
--           {'nothing', <work seen>, <ms until a task may be ready, or -1>}
--           {'drain'}
--           {'due'}: some pauses are over; call end_pauses.lua, then lease.lua again
-- `known` are the numbers of a job and one of its layers, where the call knows some already, as
-- part/commit.lua answers them.
local function lease(known)
  local seat = P .. 'w:' .. ARGV[4]
  local worker = call('HMGET', seat, 'seen', 'request', 'drain')
  if worker[2] == ARGV[3] or worker[3] == '1' then
    call('SREM', P .. 'workers', '')
    call('HSET', seat, 'info', ARGV[5], 'seen', now)
    if worker[2] == ARGV[3] then return {'work', call('HGET', seat, 'lease')} end
    return {'drain'}
  end
  if farm[3] and tonumber(farm[3]) <= now then return {'due'} end

  -- A full server takes what begins with a write that frees.
  if not known then call('SREM', P .. 'workers', '') end
  if not worker[1] then call('SADD', P .. 'workers', ARGV[4]) end
  local memory = tonumber(ARGV[6])

  -- Whose turn it is. Where there is one group and one user there is no choice.
  local user, offer
  local groups = call('ZRANGE', P .. 'ready', '0', '1')
  local users = groups[1] and not groups[2] and call('ZRANGE', P .. 'u:' .. groups[1], '0', '1')
  if users and not users[2] then
    if fits(string.match(groups[1], '|(.*)$'), memory, ARGV[7], ARGV[8]) then
      user = users[1]
      offer = call('ZRANGE', P .. 'o:' .. groups[1] .. '|' .. user, '0', '0')[1]
    end
  elseif groups[1] then
    -- include choose
    user, offer = choose(memory, ARGV[7], ARGV[8])
  end

  if not offer then
    call('HSET', seat, 'info', ARGV[5], 'seen', now)
    -- When a task that this worker could do may be ready.
    -- include job
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
    return {'nothing', tonumber(farm[2] or 0), wait}
  end

  local id, at = string.match(offer, '^(%x+)/(%d+)$')
  local key, layer_field = P .. 'j:' .. id, 'L' .. at
  local numbers = known and known.key == key and known.layer == layer_field and known
    or call('HMGET', key, 'J', layer_field)
  local n, tokens = tonumber(ARGV[9]), ARGV[10]
  local entries, fields, leases = {}, {}, {}
  local attempts = '1'
  local first
  local told = 'L ' .. ARGV[4] .. ' ' .. id .. ' ' .. at .. ' '

  local tasks, kind, above, cursor, done, failed, leased, delayed, ready, low, ahead, offered =
    struct.unpack('<dddddddddddd', numbers[2])
  local size = 0
  if (kind == 0 or kind == 3) and ready == 0 and ahead == 0 and cursor + n < tasks
    and struct.unpack('<d', numbers[1], 17) == 1 then
    -- As almost always: fresh tasks of a running job, and some are left. As part/job.lua packs
    -- them, but without its tables.
    first = cursor
    fields[1], fields[2] = layer_field, struct.pack('<dddddddddddd', tasks, kind, above,
      cursor + n, done, failed, leased + n, delayed, ready, low, ahead, offered)
    size = 2
    event(told .. first .. ' ' .. n)
  else
    -- include bitmap job offers entries tasks take
    local j = read_job(id, numbers[1])
    local l = read_layer(j, tonumber(at), numbers[2])
    local taken = take(j, l, n)
    first, n = taken[1], #taken
    local each = {}
    for i, index in ipairs(taken) do
      each[i] = 1
      -- Only what is below the cursor has been leased before.
      local old = (index < cursor or kind == 1 or kind == 2)
        and call('HGET', key, at .. '/' .. index)
      if old then
        local entry = read_entry(old)
        entry.state, entry.token, entry.worker = 'L', string.sub(tokens, 16 * i - 15, 16 * i), ARGV[4]
        entry.attempt = entry.attempt + 1
        each[i], entries[i] = entry.attempt, pack_entry(entry)
      end
    end
    attempts = table.concat(each, ',')
    event(told .. first .. ' ' .. n)
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

  local expires = string.format('%.0f', now + ARGV[11])
  local head = struct.pack('<I4I4dBc0', 1, 0, 0, #ARGV[4], ARGV[4])
  local holder = ' ' .. ARGV[4]
  for i = 1, n do
    local field = at .. '/' .. (first + i - 1)
    fields[size + 1] = field
    fields[size + 2] = entries[i] or 'L' .. string.sub(tokens, 16 * i - 15, 16 * i) .. head
    size = size + 2
    leases[2 * i - 1] = expires
    leases[2 * i] = id .. '/' .. field .. holder
  end
  call('HSET', key, unpack(fields))
  call('ZADD', P .. 'leases', unpack(leases))
  call('HINCRBY', P .. 'served', user, n)
  local answer = id .. ' ' .. at .. ' ' .. first .. ' ' .. expires .. ' ' .. attempts .. ' '
    .. string.sub(tokens, 1, 16 * n)
  call('HSET', seat, 'info', ARGV[5], 'seen', now, 'request', ARGV[3], 'lease', answer)
  return {'work', answer}
end
