-- Makes the stored results of tasks of one layer count: ARGV[from]… are the index and proof of
-- each. Answers a letter for each task: `n`ow, `b`efore, `s`tale, `e`arly, no such `t`ask, no
-- such `j`ob, `c`ancelled; and the numbers of job and layer where they are known afterwards.
local function commit(id, at, memory, from)
  local key = P .. 'j:' .. id
  local asked = {'J', 'L' .. at}
  local size = 2
  for i = from, #ARGV, 2 do
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

  local letters, names, members, fields, tokens = {}, {}, {}, {}, {}
  local n, first, last = 0, nil, nil
  -- By index: what this call has committed so far.
  local now_done = {}
  -- Whether each commit so far is of the task after the one before.
  local run = true
  for place = 3, size do
    local i = from + 2 * place - 6
    local entry, index, proof = found[place], tonumber(ARGV[i]), ARGV[i + 1]
    local letter
    if entry and cancelled == 0 and not now_done[index] and string.sub(entry, 1, 21) == proof then
      letter = 'n'
      if kind == 1 and index > 0 and not now_done[index - 1] then
        -- include bitmap
        if not has(map, index - 1) then letter = 'e' end
      end
    else
      local token = string.sub(proof, 2, 17)
      local before = was_committed(token, memory)
      for _, other in ipairs(tokens) do before = before or other == token end
      if before then letter = 'b'
      elseif not found[1] then letter = 'j'
      elseif not tasks or index >= tasks then letter = 't'
      elseif cancelled == 1 then letter = 'c'
      else letter = 's' end
    end
    letters[place - 2] = letter
    if letter == 'n' then
      n = n + 1
      first = first or index
      run = run and (not last or index == last + 1)
      last = index
      now_done[index] = true
      names[n], fields[n], tokens[n] = ARGV[i], asked[place], string.sub(proof, 2, 17)
      members[n] = id .. '/' .. asked[place] .. ' ' .. string.sub(entry, 35, 34 + string.byte(entry, 34))
    end
  end
  letters = table.concat(letters)
  if n == 0 then return letters end

  -- The first write frees memory, so that a full server takes it.
  call('ZREM', P .. 'leases', unpack(members))
  call('HDEL', key, unpack(fields))
  -- A run of tasks within one chunk is set at once.
  local chunk = math.floor(first / 65536)
  if run and n <= 48 and last < (chunk + 1) * 65536 then
    call('BITFIELD', map .. chunk, 'SET', 'u' .. n, first - chunk * 65536, 2 ^ n - 1)
  else
    -- include bitmap
    for index in pairs(now_done) do put(map, index) end
  end
  settle_commits(tokens, memory)
  event('C ' .. id .. ' ' .. at .. ' '
    .. (run and names[1] .. '+' .. n or table.concat(names, ',')))

  if kind ~= 1 and above ~= 2 and done + n < tasks and troubles == 0 then
    -- As almost always: nothing follows from it. As part/job.lua packs them, but without its
    -- tables.
    local numbers = struct.pack('<dddddddddddd', tasks, kind, above, cursor, done + n,
      failed, leased - n, delayed, ready, low, ahead, offered)
    call('HSET', key, asked[2], numbers)
    return letters, {key = key, layer = asked[2], found[1], numbers}
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
    for _, name in ipairs(names) do
      opened = opened + offer_after(j, l, tonumber(name))
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
