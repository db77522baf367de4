// Proves what core/json.hpp promises of its cursor.
#include "core/json.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "json_text.hpp"

namespace attribution::core {
namespace {

TEST(Json, SeesEveryKindOfValue) {
    const JsonText document(
        R"({"s":"x","n":-1.50,"t":true,"f":false,"z":null,"a":[1,2],"o":{"k":7}})");
    const Json root = document.root();
    EXPECT_TRUE(root.exists() && root.is_object());
    EXPECT_EQ(root.size(), 7U);
    EXPECT_TRUE(root.at("s").is_string());
    EXPECT_EQ(root.at("s").string(), "x");
    EXPECT_EQ(root.at("s").text(), "x");
    EXPECT_TRUE(root.at("n").is_number());
    EXPECT_EQ(root.at("n").text(), "-1.50");
    EXPECT_EQ(root.at("n").string(), "");
    EXPECT_EQ(root.at("t").boolean(), true);
    EXPECT_EQ(root.at("f").boolean(), false);
    EXPECT_EQ(root.at("s").boolean(), std::nullopt);
    EXPECT_TRUE(root.at("a").is_array());
    EXPECT_EQ(root.at("a").size(), 2U);
    EXPECT_EQ(root.at("o").at("k").text(), "7");
    EXPECT_EQ(root.at({"o", "k"}).key(), "k");
    EXPECT_EQ(root.at("a").text(), std::nullopt);
}

TEST(Json, TellsNullFromNowhere) {
    const JsonText document(R"({"z":null})");
    EXPECT_TRUE(document.root().member("z").is_null());
    EXPECT_FALSE(document.root().member("z").exists());
    EXPECT_FALSE(document.root().member("x").is_null());
    EXPECT_FALSE(document.root().member("x").exists());
    // A path leads nowhere for both.
    EXPECT_FALSE(document.root().at("z").is_null());
    EXPECT_FALSE(document.root().at("x").is_null());
}

TEST(Json, LookingWhereNothingIsIsNoError) {
    const Json nowhere;
    EXPECT_FALSE(nowhere.exists() || nowhere.is_null() || nowhere.is_object() ||
                 nowhere.is_array());
    EXPECT_FALSE(nowhere.at({"a", "b"}).exists());
    EXPECT_FALSE(nowhere.member("a").exists());
    EXPECT_FALSE(nowhere.first_of({"a", "b"}).exists());
    EXPECT_EQ(nowhere.text(), std::nullopt);
    EXPECT_EQ(nowhere.string(), "");
    EXPECT_EQ(nowhere.key(), "");
    EXPECT_EQ(nowhere.size(), 0U);
    EXPECT_EQ(nowhere.begin(), nowhere.end());
    EXPECT_FALSE(Json(std::span<const JsonNode>()).exists());
    const JsonText document(R"({"s":"x","a":[{"b":1}]})");
    EXPECT_FALSE(document.root().at({"s", "x"}).exists());
    EXPECT_FALSE(document.root().at({"a", "b"}).exists());
    EXPECT_EQ(document.root().at("s").size(), 0U);
}

TEST(Json, IteratesInOrder) {
    const JsonText document(R"({"a":[[],{},[1,[2,3]],"x"],"b":{"c":{"d":1}},"e":2})");
    std::vector<std::string> keys, elements;
    for (const Json member : document.root())
        keys.emplace_back(member.key());
    for (const Json element : document.root().at("a"))
        elements.push_back(JsonText::write(element));
    EXPECT_EQ(keys, (std::vector<std::string>{"a", "b", "e"}));
    EXPECT_EQ(elements, (std::vector<std::string>{"[]", "{}", "[1,[2,3]]", "\"x\""}));
}

TEST(Json, FindsTheFirstThatExists) {
    const JsonText document(R"({"a":null,"b":2,"c":3})");
    EXPECT_EQ(document.root().first_of({"x", "a", "b", "c"}).text(), "2");
    EXPECT_FALSE(document.root().first_of({"x", "a"}).exists());
}

TEST(Json, DoesNotSeeWhatIsRemoved) {
    JsonText other(R"({"a":1,"b":{"x":2},"c":3})");
    for (const Json member : other.root())
        if (member.key() == "b")
            other.nodes()[member.node_number()].is_removed = true;
    EXPECT_EQ(other.write(), R"({"a":1,"c":3})");
    EXPECT_FALSE(other.root().at({"b", "x"}).exists());
    EXPECT_EQ(other.root().size(), 2U);
    other.nodes()[1].is_removed = true;
    EXPECT_EQ(other.write(), R"({"c":3})");
    other.nodes()[4].is_removed = true;
    EXPECT_EQ(other.write(), "{}");
    EXPECT_EQ(other.root().begin(), other.root().end());
}

} // namespace
} // namespace attribution::core
