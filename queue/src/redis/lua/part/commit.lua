-- Makes the stored results of tasks of one layer count. `runs` names them, see part/runs.lua.
-- Answers a letter for each: `n`ow, `b`efore, `s`tale, `e`arly, no such `t`ask, no such `j`ob,
-- `c`ancelled.
local function commit(id, at_text, memory, runs)
  local j, at, names, records = job_of(id, at_text), tonumber(at_text), leases_of(runs)
  local l = j and at < j.size and layer(j, at)
  local counts = l and j.cancelled == 0
  local letters, leases = {}, {}
  -- What is committed: first and how many of each run; what is remembered of runs of one lease;
  -- entries that go; how many.
  local runs_done, remembered, fields, n = {}, {}, {}, 0

  for run, name in ipairs(names) do
    local token, position, index, count, attempt = read_run(runs, run)
    local lease = leases[name]
    if counts and not lease and records[run] then
      lease = read_lease(name, records[run])
      leases[name] = lease
    end
    -- Almost always all of a run is running, and committed at once.
    local all = lease and l.kind ~= 1 and is_running(lease, j, at, index, position, attempt)
      and (count == 1 or #lease.attempts == 4
        and string.sub(lease.tasks, position + 1, position + count) == string.rep('r', count))
    local at_once = all and count or 1
    for task = index, index + count - 1, at_once do
      local letter = 'n'
      if not all then
        -- include was_committed bitmap
        position = position + task - index
        index, token = task, name .. string.format('%03x', position)
        if lease and is_running(lease, j, at, task, position, attempt) then
          if l.kind == 1 and task > 0 and not has(l.map .. 'd', task - 1) then
            letter = 'e'
          elseif l.kind == 1 then
            spare()
            put(l.map .. 'd', task)
          end
        else
          -- This very call may have committed it.
          if remembered[1] then settle_all(remembered, memory) end
          if was_committed(token, memory) then letter = 'b'
          elseif not j then letter = 'j'
          elseif not l or task >= l.tasks then letter = 't'
          else letter = j.cancelled == 1 and 'c' or 's' end
        end
      end
      letters[#letters + 1] = at_once == 1 and letter or string.rep(letter, at_once)
      if letter == 'n' then
        leave(lease, position, at_once)
        lease.changed = true
        local last = #runs_done
        if last > 0 and runs_done[last - 1] + runs_done[last] == task then
          runs_done[last] = runs_done[last] + at_once
        else
          runs_done[last + 1], runs_done[last + 2] = task, at_once
        end
        last = #remembered
        remembered[last + 1], remembered[last + 2] = token, now_text .. ' c' .. at_once
        if attempt > 1 or l.kind == 1 or l.kind == 2 then
          for gone = task, task + at_once - 1 do fields[#fields + 1] = at_text .. '/' .. gone end
        end
        n = n + at_once
      end
    end
  end
  letters = table.concat(letters)
  if n == 0 then return letters end

  l.done, l.leased, l.changed = l.done + n, l.leased - n, true
  local over, kept = {}, {}
  for name, lease in pairs(leases) do
    if lease.changed and string.find(lease.tasks, 'r', 1, true) then
      kept[#kept + 1], kept[#kept + 2] = name, pack_lease(lease)
    elseif lease.changed then
      over[#over + 1] = name
    end
  end
  if over[1] then
    call('ZREM', ENDS, unpack(over))
    for at_once = 1, #over do over[#over + 1] = leases[over[at_once]].request end
    call('HDEL', LEASES, unpack(over))
    -- These were writes that free.
    is_spared = true
  end
  spare()
  if kept[1] then call('HSET', LEASES, unpack(kept)) end
  if fields[1] then call('HDEL', j.key, unpack(fields)) end
  settle_all(remembered, memory)
  local first, named = runs_done[1], runs_done[1] .. '+' .. runs_done[2]
  local offset = first % 65536
  if not runs_done[3] and n <= 48 and offset + n <= 65536 then
    -- As almost always: one run, in one piece of the bitmap, as part/bitmap.lua cuts them.
    local chunk = l.map .. 'd' .. (first - offset) / 65536
    if n == 1 then
      call('SETBIT', chunk, offset, '1')
    else
      call('BITFIELD', chunk, 'SET', 'u' .. n, offset, 2 ^ n - 1)
    end
  else
    -- include bitmap
    put_runs(l.map .. 'd', runs_done)
    for run = 3, #runs_done, 2 do
      named = named .. ',' .. runs_done[run] .. '+' .. runs_done[run + 1]
    end
  end
  event('C ' .. id .. ' ' .. at_text .. ' ' .. named)

  -- Almost always nothing follows from it.
  if l.done == l.tasks then j.open = j.open - 1 end
  if l.kind == 1 or l.above == 2 or l.done == l.tasks or j.failed > 0 then
    -- include bitmap offers entries tasks
    local opened = 0
    if l.kind == 1 or l.above == 2 then
      for run = 1, #runs_done, 2 do
        for index = runs_done[run], runs_done[run] + runs_done[run + 1] - 1 do
          opened = opened + offer_after(j, l, index)
        end
      end
    end
    offer_layers(j, l)
    if l.done == l.tasks then opened = opened + opened_by_layer(j, l) end
    settle_state(j)
    if opened > 0 then
      -- include wake
      farm[2] = wake(opened)
    end
  end
  return letters
end
