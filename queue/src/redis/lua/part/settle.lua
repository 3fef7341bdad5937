-- Remembers how calls ended, in hashes that expire as a whole; part/settled.lua looks it up.

-- The hash of now, or of so many before it.
local function settled_at(memory, age)
  return P .. 's:' .. memory .. '/' .. math.floor(now / memory) - age
end

-- Puts fields there: a list of names, each followed by a value.
local function keep(fields, memory)
  local bucket = settled_at(memory, 0)
  call('HSET', bucket, unpack(fields))
  if farm[4] ~= bucket then
    call('PEXPIRE', bucket, 3 * memory)
    call('HSET', KEYS[1], 'bucket', bucket)
  end
end

-- How one call ended: `<time> <how>` under its token or request.
local function settle(name, how, memory)
  keep({name, string.format('%.0f ', now) .. how}, memory)
end
