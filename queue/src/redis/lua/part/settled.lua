-- How calls ended, for a client that lost the answer: `<time> <how>` by token or request, in
-- hashes that expire as a whole.
local function settled(name, memory)
  local bucket = math.floor(now / memory)
  local found = call('HGET', P .. 's:' .. memory .. '/' .. bucket, name)
    or call('HGET', P .. 's:' .. memory .. '/' .. (bucket - 1), name)
  if found then
    local at, how = string.match(found, '^(%d+) (.*)$')
    if now - at < memory + 0 then return how end
  end
end

-- `answers` is a list of names, each followed by how it ended.
local function settle(answers, memory)
  local bucket = memory .. '/' .. math.floor(now / memory)
  local at = string.format('%.0f ', now)
  for i = 2, #answers, 2 do
    answers[i] = at .. answers[i]
  end
  call('HSET', P .. 's:' .. bucket, unpack(answers))
  if farm[4] ~= bucket then
    call('PEXPIRE', P .. 's:' .. bucket, 3 * memory)
    call('HSET', KEYS[1], 'bucket', bucket)
  end
end
