-- Leases that some task still runs in. `leases` has a record of each by its name, which is how
-- all its tokens begin; their last three digits count its tasks. It has the name by `?<request>`,
-- too, for a client that lost the answer. `ends` has the names by when they end, and one that is
-- nobody's, see open.lua.
-- A record: job, its number (another job may have the id later), layer, first task, when it was
-- to end, worker, `?<request>`, `r`unning or `-` for each task; attempt of all or of each; where
-- heartbeats were for some of the tasks only, when each ends.
local LEASES, ENDS = P .. 'leases', P .. 'ends'
local RECORD = '<c32dBI4dBc0Bc0I2c0I2c0'
