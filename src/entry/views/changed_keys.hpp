// The keys that one statement changed, each once, on their way into a log.
#pragma once

#include <type_traits>

#include "pg/postgres.hpp"

namespace attribution::entry {

/// How many keys of one statement are held at a time: 2.4 MB, and as much for finding them.
inline constexpr int max_held_keys = 1 << 16;

/// Entries of a statement by their member `key`, in the order in which the keys came. Few entries
/// are found by a linear search, many by a hash table. Everything is in the memory context of the
/// first entry.
template <class Entry>
struct ChangedKeys {
    using Key = decltype(Entry::key);
    static_assert(std::has_unique_object_representations_v<Key>, "keys are compared as bytes");
    static_assert(std::is_trivially_copyable_v<Entry>);

    Entry* entries;
    int count, room;
    HTAB* places;

    [[nodiscard]] bool is_full() const { return count == max_held_keys; }

    /// The entry of the key; a new one is zero but for its key.
    Entry* find(const Key& key) {
        if (count > 0 && memcmp(&entries[count - 1].key, &key, sizeof key) == 0)
            return &entries[count - 1]; // rows of one key mostly come together
        if (places == nullptr && count == few)
            hash_all();
        if (places != nullptr) {
            bool found;
            auto* place = static_cast<Place*>(hash_search(places, &key, HASH_ENTER, &found));
            if (found)
                return &entries[place->number];
            place->number = count;
        } else {
            for (int i = 0; i < count; ++i)
                if (memcmp(&entries[i].key, &key, sizeof key) == 0)
                    return &entries[i];
        }
        return append(key);
    }

    /// Removes the entries; their memory is used again.
    void clear() {
        if (places != nullptr)
            hash_destroy(places);
        places = nullptr;
        count = 0;
    }

private:
    struct Place {
        Key key;
        int number; // of the entry
    };
    static constexpr int few = 8;

    Entry* append(const Key& key) {
        if (count == room) {
            const int larger = room == 0 ? few : room * 2;
            const Size size = sizeof(Entry) * static_cast<Size>(larger);
            entries =
                static_cast<Entry*>(entries == nullptr ? palloc(size) : repalloc(entries, size));
            room = larger;
        }
        Entry* entry = &entries[count++];
        *entry = {};
        entry->key = key;
        return entry;
    }

    void hash_all() {
        HASHCTL control{};
        control.keysize = sizeof(Key);
        control.entrysize = sizeof(Place);
        control.hcxt = CurrentMemoryContext;
        places = hash_create("attribution changed keys", 256, &control,
                             HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
        for (int i = 0; i < count; ++i) {
            bool found;
            auto* place =
                static_cast<Place*>(hash_search(places, &entries[i].key, HASH_ENTER, &found));
            Assert(!found);
            place->number = i;
        }
    }
};

} // namespace attribution::entry
