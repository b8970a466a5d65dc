"""The numbers of FORMAT.md; a test holds the two together.

All sizes are bytes unless a name says otherwise.
"""

FORMAT_VERSION = 1

# Authenticated encryption: AES-256-GCM with random 96-bit nonces.
KEY_SIZE = 32
NONCE_SIZE = 12
TAG_SIZE = 16
# NIST SP 800-38D section 8.3: at most 2^32 seals under one key with random nonces. A segment moves to a
# new object, hence a new key, long before.
SEALS_PER_OBJECT = 2**31

VAULT_ID_SIZE = 16
OBJECT_NAME_SIZE = 16
WRAPPED_KEY_SIZE = KEY_SIZE + TAG_SIZE  # AES-SIV: 16-byte synthetic IV, then the key

# The first byte of every AAD says what is sealed.
KIND_HEADER = b"H"
KIND_CHUNK = b"C"
KIND_NODE = b"N"
KIND_FRAME = b"D"
KIND_ROOT = b"R"
KIND_JOURNAL = b"J"
KIND_RECORD = b"E"
KIND_FILE_KEY = b"W"
KIND_SLOT = b"S"
KIND_IDENTITY = b"I"
KIND_PREVIOUS = b"P"

# Chunks and segments.
CHUNK_SIZE_DEFAULT = 65536
CHUNK_SIZE_MIN = 32768
CHUNK_SIZE_MAX = 1048576
CHUNKS_PER_SEGMENT = 1024
SLOT_TRAILER_SIZE = 16  # sealed behind the data: generation, number
SLOT_OVERHEAD = NONCE_SIZE + SLOT_TRAILER_SIZE + TAG_SIZE
# Slots of one segment: 1,024 chunks, their node, what waits to be freed of two epochs; below FAT's 4 GiB at any chunk
# size. Direct writes stop earlier, so that checkpoints always find room.
MAX_SLOTS = 4032
MAP_ENTRY_SIZE = 24  # slot, length, tag
INLINE_CHUNKS = 16  # a file of at most so many chunks keeps its map in the directory entry
INLINE_DATA = 16384  # and one whose data is no longer may keep that itself there
NODE_REFERENCES = 512  # children of one inner map node
ROOT_REFERENCES = 16  # references a directory entry holds itself
INDEX_SEGMENT = 2**64 - 1  # the segment number of the object that holds a file's inner map nodes
MAX_FILE_SIZE = 2**57

# Object headers.
OBJECT_HEADER_PLAIN_SIZE = 64
OBJECT_HEADER_SIZE = 4 + NONCE_SIZE + OBJECT_HEADER_PLAIN_SIZE + TAG_SIZE
OBJECT_SEGMENT = 1
OBJECT_DIRECTORY = 2

# Directories.
FRAME_PREFIX_SIZE = 4 + NONCE_SIZE
FRAME_TARGET_SIZE = 1 << 20  # a frame is closed once its plaintext passes this
ROOT_ID = 1
SHARED_ID = 2
ORPHANS_ID = 3
SHARD_BASE = 256  # the shard of inode n is the directory SHARD_BASE + n % SHARED_SHARDS
FIRST_FREE_ID = 1024
SHARED_SHARDS = 256

# Names and values.
MAX_NAME = 255
MAX_TARGET = 4095
MAX_LINKS = 65000
MAX_XATTR_NAME = 255
MAX_XATTR_VALUE = 65536
MAX_XATTRS_SIZE = 262144

# Roots.
ROOT_SLOTS = 2
ROOT_PREFIX_SIZE = 4 + NONCE_SIZE
HISTORY_LENGTH = 160
HISTORY_NEWEST = 64  # as they come; of those before, the newest multiples of each step
HISTORY_STEPS = (2, 8, 32, 128, 1024, 8192)

# Journal.
JOURNAL_SALT_SIZE = 16
JOURNAL_SECRET_SIZE = 32
JOURNAL_HEADER_PLAIN_SIZE = 64
JOURNAL_HEADER_SIZE = JOURNAL_SALT_SIZE + NONCE_SIZE + JOURNAL_HEADER_PLAIN_SIZE + TAG_SIZE + 4
RECORD_ALIGNMENT = 16
RECORD_PREFIX_SIZE = 4 + NONCE_SIZE
RECORD_HEADER_SIZE = 33  # sealed in front of the body: sequence, synced, previous tag, type
# Ciphertext and tag of the largest record: two partial chunks or one full set of attributes, and some.
MAX_RECORD_SIZE = 2 * CHUNK_SIZE_MAX + MAX_XATTRS_SIZE + 65536
