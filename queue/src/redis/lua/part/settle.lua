-- Remembers how calls ended, as part/settled.lua looks it up: `answers` is a list of names,
-- each followed by how it ended.
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
