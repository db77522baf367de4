// Proves what core/redact.hpp promises: of texts by hand, of documents by hand and against a walk
// that shares nothing with it but the definition (test/fuzz has the same walk).
#include "core/redact.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "json_text.hpp"

namespace attribution::core {
namespace {

TEST(KeySet, DoesNotSeeCaseOrSeparators) {
    std::vector<std::uint64_t> hashes = {key_hash("first_name"), key_hash("email")};
    std::sort(hashes.begin(), hashes.end());
    const KeySet keys{hashes};
    for (const char* name : {"first_name", "firstName", "First-Name", "FIRST NAME", "e-mail"})
        EXPECT_TRUE(keys.contains(name)) << name;
    for (const char* name : {"", "first", "first_names", "name", "emails"})
        EXPECT_FALSE(keys.contains(name)) << name;
}

std::string redacted(const std::string& text) {
    std::vector<std::uint64_t> hashes = {key_hash("email"), key_hash("customer")};
    std::sort(hashes.begin(), hashes.end());
    std::vector<char> target(text.size());
    return std::string(redact_text(text, KeySet{hashes}, target));
}

TEST(RedactText, RemovesValuesOfListedKeys) {
    EXPECT_EQ(redacted(R"({"id":1,"email":"a@b.c","total":"10.00"})"),
              R"({"id":1,"email":"","total":"10.00"})");
    EXPECT_EQ(redacted(R"({"customer" : {"n":{"x":["}"]}}, "id": 7)"),
              R"({"customer" : "", "id": 7)");
    EXPECT_EQ(redacted(R"({"email":"a\"b@c.d","x":"\u0000"})"), R"({"email":"","x":"\u0000"})");
    EXPECT_EQ(redacted(R"({"email":null,"customer":7})"), R"({"email":"","customer":0})");
    EXPECT_EQ(redacted(R"({"Email":"a@b.c)"), R"({"Email":"")"); // cut off
    EXPECT_EQ(redacted(R"(broken " quote {"email":"a@b.c"})"), R"(broken " quote {"email":""})");
    EXPECT_EQ(redacted("id=1&email=a%40b.c&total=10"), "id=1&email=&total=10");
    EXPECT_EQ(redacted("email=a@b.c"), "email=");
    EXPECT_EQ(redacted("https://x.example/?email=a?b&q=1#email=a@b.c"),
              "https://x.example/?email=&q=1#email=");
    EXPECT_EQ(redacted("/p?q=email=1&email"), "/p?q=email=1&email");
    EXPECT_EQ(redacted("nothing here"), "nothing here");
    EXPECT_EQ(redacted(""), "");
    EXPECT_EQ(redacted(R"(["email","customer"])"), R"(["email","customer"])");
}

TEST(RedactText, IsLinear) {
    std::string text;
    for (int i = 0; i < 1'000'000; ++i)
        text += R"(\")";
    EXPECT_EQ(redacted(text), text);
    text.assign(2'000'000, '&');
    EXPECT_EQ(redacted(text), text);
    text.assign(2'000'000, '?');
    EXPECT_EQ(redacted(text), text);
    text.assign(2'000'000, '{');
    EXPECT_EQ(redacted(text), text);
}

/// The document without the members email, customer and note, as text.
std::string redacted_document(const std::string& text) {
    std::vector<std::uint64_t> hashes = {key_hash("email"), key_hash("customer"), key_hash("note")};
    std::sort(hashes.begin(), hashes.end());
    JsonText document(text);
    EXPECT_TRUE(document.is_valid()) << text;
    const std::string before = document.write();
    std::vector<char> target(text.size());
    const bool has_removed = redact(document.nodes(), KeySet{hashes}, target);
    EXPECT_EQ(has_removed, document.write() != before) << text;
    return document.write();
}

TEST(Redact, RemovesListedMembersAtAnyDepth) {
    EXPECT_EQ(redacted_document(R"({"id":1,"email":"a@b.c","total":"10.00"})"),
              R"({"id":1,"total":"10.00"})");
    EXPECT_EQ(
        redacted_document(R"({"a":[{"Customer":{"email":[1,2,{"x":3}]},"b":[]}],"E-Mail":null})"),
        R"({"a":[{"b":[]}]})");
    EXPECT_EQ(redacted_document(R"([{"email":1},{"email":{}},{"email":[]},[[{"email":false}]]])"),
              "[{},{},{},[[{}]]]");
    EXPECT_EQ(redacted_document(R"({"email":"a@b.c"})"), "{}");
    EXPECT_EQ(redacted_document(R"({"id":1,"emails":["email"],"x":"email"})"),
              R"({"id":1,"emails":["email"],"x":"email"})");
    for (const char* scalar : {"null", "true", "1.50", R"("email")", "[]", "{}"})
        EXPECT_EQ(redacted_document(scalar), scalar);
}

TEST(Redact, RemovesTheValuesOfPairs) {
    EXPECT_EQ(
        redacted_document(R"([{"name":"email","value":"a@b.c"},{"name":"size","value":"L"}])"),
        R"([{"name":"email"},{"name":"size","value":"L"}])");
    EXPECT_EQ(redacted_document(R"({"VALUE":{"a":1},"id":7,"Key":"E_Mail"})"),
              R"({"id":7,"Key":"E_Mail"})");
    EXPECT_EQ(redacted_document(R"({"value":"a@b.c","name":"email"})"), R"({"name":"email"})");
    // Two names: one of them is listed.
    EXPECT_EQ(redacted_document(R"({"key":"email","name":"size","value":1})"),
              R"({"key":"email","name":"size"})");
    // A name that is no string, or names something else, or is not there.
    for (const char* text :
         {R"({"name":["email"],"value":1})", R"({"name":7,"value":1})",
          R"({"title":"email","value":1})", R"({"name":{"name":"size"},"value":1})"})
        EXPECT_EQ(redacted_document(text), text);
    EXPECT_EQ(redacted_document(R"({"name":{"name":"email","value":2},"value":1})"),
              R"({"name":{"name":"email"},"value":1})");
}

TEST(Redact, LooksIntoStrings) {
    EXPECT_EQ(redacted_document(R"({"url":"/p?email=a@b.c&q=1"})"), R"({"url":"/p?email=&q=1"})");
    EXPECT_EQ(redacted_document(R"({"body":"{\"email\":\"a@b.c\",\"id\":7}"})"),
              R"({"body":"{\"email\":\"\",\"id\":7}"})");
    EXPECT_EQ(redacted_document(R"(["email=a","email=b","email=c"])"),
              R"(["email=","email=","email="])");
    EXPECT_EQ(redacted_document(R"("email=a@b.c")"),
              R"("email=")"); // a text that was encoded twice
    // The name of a pair is listed, whatever else is in it.
    EXPECT_EQ(redacted_document(R"({"name":"email","value":"email=a"})"), R"({"name":"email"})");
}

TEST(Redact, SeesNothingInWhatIsRemoved) {
    JsonText document(R"({"customer":{"url":"email=a","x":{"email":1}},"id":1})");
    std::vector<std::uint64_t> hashes = {key_hash("customer"), key_hash("email")};
    std::sort(hashes.begin(), hashes.end());
    std::vector<char> target; // no room: nothing may be written
    EXPECT_TRUE(redact(document.nodes(), KeySet{hashes}, target));
    EXPECT_EQ(document.write(), R"({"id":1})");
}

TEST(Redact, WithoutKeysChangesNothing) {
    JsonText document(R"({"email":"a@b.c","url":"email=a"})");
    std::vector<char> target(100);
    EXPECT_FALSE(redact(document.nodes(), KeySet{}, target));
    EXPECT_EQ(document.write(), R"({"email":"a@b.c","url":"email=a"})");
    EXPECT_FALSE(redact({}, KeySet{}, target));
}

} // namespace
} // namespace attribution::core
