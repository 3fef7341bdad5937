-- Makes the stored results of tasks of one layer count: ARGV[from]… are the index and proof of
-- each, `count` times. Answers a letter for each task: `n`ow, `b`efore, `s`tale, `e`arly, no such
-- `t`ask, no such `j`ob, `c`ancelled. Answers, too, what of the layer is still to be stored, if
-- nothing else follows.
local function commit(id, at, memory, from, count)
  local sub = string.sub
  local key, layer_field = P .. 'j:' .. id, 'L' .. at
  local asked, size = {'J', layer_field}, 2
  for i = from, from + 2 * count - 2, 2 do
    size = size + 1
    asked[size] = at .. '/' .. ARGV[i]
  end
  local found = call('HMGET', key, unpack(asked))
  local cancelled, troubles, tasks
  local kind, above, cursor, done, failed, leased, delayed, ready, low, ahead, offered
  if found[1] then cancelled, troubles = struct.unpack('<dd', found[1], 81) end
  if found[2] then
    tasks, kind, above, cursor, done, failed, leased, delayed, ready, low, ahead, offered =
      struct.unpack('<dddddddddddd', found[2])
  end
  local map = P .. 'b:' .. id .. '/' .. at .. '/d'

  local letters = {}
  -- What is committed: indices as numbers and as text, fields of the job, members of `leases`.
  local indices, names, fields, members, n = {}, {}, {}, {}, 0
  -- Runs of one lease's tasks: the first one's token, when and how many.
  local runs, size_of_run, lease = {}, 0, nil
  -- Whether each commit so far is of the task after the one before.
  local is_run, last, highest = true, -2, -1
  local function is_new(index)
    for _, other in ipairs(indices) do
      if other == index then return false end
    end
    return true
  end
  local function end_run()
    if size_of_run > 0 then runs[#runs + 1] = now_text .. ' c' .. size_of_run end
  end
  for place = 3, size do
    local i = from + 2 * place - 6
    local entry, index, proof = found[place], tonumber(ARGV[i]), ARGV[i + 1]
    local letter
    if entry and cancelled == 0 and sub(entry, 1, 21) == proof
      and (index > highest or is_new(index)) then
      letter = 'n'
      if kind == 1 and index > 0 and last ~= index - 1 and is_new(index - 1) then
        -- include bitmap
        if not has(map, index - 1) then letter = 'e' end
      end
    else
      -- include was_committed
      local token = sub(proof, 2, 17)
      local again = entry and sub(entry, 2, 17) == token and not is_new(index)
      if again or was_committed(token, memory) then letter = 'b'
      elseif not found[1] then letter = 'j'
      elseif not tasks or index >= tasks then letter = 't'
      elseif cancelled == 1 then letter = 'c'
      else letter = 's' end
    end
    letters[place - 2] = letter
    if letter == 'n' then
      n = n + 1
      local field, of = asked[place], sub(proof, 2, 14)
      is_run = is_run and (n == 1 or index == last + 1)
      if index ~= last + 1 or of ~= lease then
        end_run()
        runs[#runs + 1], size_of_run, lease = sub(proof, 2, 17), 0, of
      end
      size_of_run = size_of_run + 1
      last = index
      if index > highest then highest = index end
      indices[n], names[n], fields[n] = index, ARGV[i], field
      members[n] = id .. '/' .. field .. ' ' .. sub(entry, 35, 34 + string.byte(entry, 34))
    end
  end
  letters = table.concat(letters)
  if n == 0 then return letters end
  end_run()

  -- The first write frees memory, so that a full server takes it.
  call('ZREM', P .. 'leases', unpack(members))
  call('HDEL', key, unpack(fields))
  -- A run of tasks within one chunk is set at once.
  local first = indices[1]
  local chunk = math.floor(first / 65536)
  if is_run and n <= 48 and last < (chunk + 1) * 65536 then
    call('BITFIELD', map .. chunk, 'SET', 'u' .. n, first - chunk * 65536, 2 ^ n - 1)
  else
    -- include bitmap
    for _, index in ipairs(indices) do put(map, index) end
  end
  settle_all(runs, memory)
  event('C ' .. id .. ' ' .. at .. ' ' .. (is_run and names[1] .. '+' .. n or table.concat(names, ',')))

  if kind ~= 1 and above ~= 2 and done + n < tasks and troubles == 0 then
    -- As almost always: nothing follows from it. The numbers are those of part/job.lua.
    local numbers = {tasks, kind, above, cursor, done + n, failed, leased - n, delayed, ready, low,
      ahead, offered}
    return letters, {key = key, field = layer_field, numbers = numbers, job_numbers = found[1]}
  end
  -- include bitmap job offers tasks
  local j = read_job(id, found[1])
  local l = read_layer(j, tonumber(at), found[2])
  l.done = l.done + n
  l.leased = l.leased - n
  l.changed = true
  if l.done == l.tasks then j.open = j.open - 1 end
  local opened = 0
  if kind == 1 or above == 2 then
    for _, index in ipairs(indices) do
      opened = opened + offer_after(j, l, index)
    end
  end
  offer_layers(j, l)
  if l.done == l.tasks then opened = opened + opened_by_layer(j, l) end
  settle_state(j)
  store_job(j)
  if opened > 0 then
    -- include wake
    farm[2] = wake(opened)
  end
  return letters
end
