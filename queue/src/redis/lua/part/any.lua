-- Begins every operation that a closed queue takes, too.
-- KEYS[1]  the farm's own hash, `{vqfarm:<farm>}:farm`; all other keys share its prefix
-- ARGV[1]  ignored
local call = redis.call
local P = string.sub(KEYS[1], 1, -5)
local farm = {}
