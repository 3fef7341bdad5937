-- Sets of task numbers in chunks, so that a few members of a huge layer stay cheap. A map is
-- named by its layer's `map` and a letter: `d` for done tasks, `r` for tasks ready again.
local CHUNK = 65536

local function place(map, index)
  local chunk = math.floor(index / CHUNK)
  return map .. chunk, index - chunk * CHUNK
end

local function has(map, index)
  return call('GETBIT', place(map, index)) == 1
end

-- Says whether it was new.
local function put(map, index)
  local key, offset = place(map, index)
  return call('SETBIT', key, offset, 1) == 0
end

-- Says whether it was there.
local function cut(map, index)
  local key, offset = place(map, index)
  return call('GETBIT', key, offset) == 1 and call('SETBIT', key, offset, 0) == 1
end

-- Puts runs of members: first and how many of each, one after the other.
local function put_runs(map, runs)
  local key, settings
  for at = 1, #runs, 2 do
    local index, left = runs[at], runs[at + 1]
    while left > 0 do
      local of, offset = place(map, index)
      -- Numbers of so many bits are exact in Lua.
      local count = math.min(left, 48, CHUNK - offset)
      if of ~= key then
        if key then call('BITFIELD', key, unpack(settings)) end
        key, settings = of, {}
      end
      local size = #settings
      settings[size + 1], settings[size + 2] = 'SET', 'u' .. count
      settings[size + 3], settings[size + 4] = offset, 2 ^ count - 1
      index, left = index + count, left - count
    end
  end
  if key then call('BITFIELD', key, unpack(settings)) end
end

-- The smallest index in [from, limit) whose bit is `want`, or nil.
local function seek(map, from, limit, want)
  while from < limit do
    local key, offset = place(map, from)
    local start = from - offset
    local byte = math.floor(offset / 8)
    local head = string.byte(call('GETRANGE', key, byte, byte))
    local found
    if not head then
      -- The chunk's string ends before: only zeros follow.
      if want == 0 then found = offset end
    else
      for bit = offset % 8, 7 do
        if math.floor(head / 2 ^ (7 - bit)) % 2 == want then
          found = byte * 8 + bit
          break
        end
      end
      if not found then
        found = call('BITPOS', key, want, byte + 1)
        if found == -1 then
          found = want == 0 and (byte + 1) * 8 or nil
        end
      end
    end
    if found and found < CHUNK then
      found = start + found
      return found < limit and found or nil
    end
    from = start + CHUNK
  end
end
