-- Remembers how calls ended, in hashes that expire as a whole; part/settled.lua and
-- part/was_committed.lua look it up.

-- The hash of now, or of so many before it.
local function settled_at(memory, age)
  return P .. 's:' .. memory .. '/' .. math.floor(now / memory) - age
end

-- Puts fields there: a list of names, each followed by `<time> <how>`.
local function settle_all(fields, memory)
  local bucket = settled_at(memory, 0)
  call('HSET', bucket, unpack(fields))
  if farm[4] ~= bucket then
    call('PEXPIRE', bucket, 3 * memory)
    call('HSET', KEYS[1], 'bucket', bucket)
    farm[4] = bucket
  end
end

-- How one call ended, under its token or request.
local function settle(name, how, memory)
  settle_all({name, now_text .. ' ' .. how}, memory)
end
