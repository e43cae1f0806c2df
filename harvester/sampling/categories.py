"""Twitch categories that are no games: what people do on Twitch besides playing.

They are among the most watched, and a VOD of a game often holds an hour of them, so they come into a dataset of
games unless they are kept out: ``--top`` passes over them. As one negative class they are useful, if asked for
(``[dataset] other``); then their frames are labelled :data:`OTHER`, whichever of them they show.
"""

from __future__ import annotations

from harvester.model import Category

#: Label, and folder, of the one class of all categories that are no games.
OTHER = "_other"

#: Categories by id, with the names they had in 2026: those that Twitch's browse page tags as IRL, music or
#: creative, as public lists of bots and statistics pages name them. Helix tells it nowhere (an empty ``igdb_id``
#: is a hint and no proof). Board and card games, casinos and "Retro" show games and are not among them.
NON_GAMES = {
    "509658": "Just Chatting",
    "509672": "IRL",
    "26936": "Music",
    "1669431183": "DJs",
    "509660": "Art",
    "509659": "ASMR",
    "509663": "Special Events",
    "509667": "Food & Drink",
    "509669": "Beauty & Body Art",
    "509670": "Science & Technology",
    "509671": "Fitness & Health",
    "509673": "Makers & Crafting",
    "417752": "Talk Shows & Podcasts",
    "518203": "Sports",
    "515214": "Politics",
    "498592": "I'm Only Sleeping",
    "499634": "Crypto",
    "116747788": "Pools, Hot Tubs, and Beaches",
    "272263131": "Animals, Aquariums, and Zoos",
    "1469308723": "Software and Game Development",
    "1599346425": "Co-working & Studying",
    "772157971": "Writing & Reading",
    "43579844": "LEGO & Brickbuilding",
    "1397210469": "Miniatures & Models",
}


def is_game(category: Category) -> bool:
    """False for a category that is known to be no game."""
    return category.id not in NON_GAMES
