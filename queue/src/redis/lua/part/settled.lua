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
