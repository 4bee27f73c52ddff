"""English for the demo's articles: sentences with gaps, filled so that no two paragraphs of the web are alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import Final

_GAP: Final = re.compile(r"\{(\w+)\}")

GAPS: Final[dict[str, tuple[str, ...]]] = {
    "person": (
        *("Anna Berg", "Tom Walker", "Maria Silva", "Peter Lang", "Ruth Cohen", "Ahmed Hassan", "Clara Jensen"),
        *("David Moore", "Elena Rossi", "Frank Miller", "Grace Young", "Henry Clark", "Irene Novak", "James Baker"),
        *("Laura King", "Martin Hill", "Nina Patel", "Oscar Reed", "Paula Stone", "Simon Wood"),
    ),
    "place": (
        *("the old harbour", "the upper valley", "the northern coast", "the river bank", "the little island"),
        *("the market square", "the western hill", "the edge of the town", "the southern bay", "the long bridge"),
        *("the quiet side of the lake", "the road to the pass", "the last farm", "the new museum", "the old mill"),
        *("the railway station", "the lighthouse", "the village church", "the school garden", "the high meadow"),
    ),
    "when": (
        *("in the early morning", "late in the afternoon", "at the end of May", "on the first day of June"),
        *("after the long winter", "before the rain came", "on a warm evening", "in the middle of the week"),
        *("during the summer holidays", "a few days later", "shortly after noon", "in the last week of autumn"),
        *("on a cold Sunday", "towards the end of the day", "in the year of the great flood", "just before sunrise"),
    ),
    "weather": (
        *("the wind had dropped", "a light rain was falling", "the sky was clear", "the fog lay low over the fields"),
        *("the sun was already warm", "the clouds hung low", "the air smelled of salt", "the snow had melted"),
        *("the first leaves were falling", "a storm was on its way", "everything was still", "the light was soft"),
    ),
    "thing": (
        *("a wooden bench", "an old map", "a box of pencils", "a blue notebook", "a pair of boots", "a paper bag"),
        *("a broken umbrella", "a small radio", "a bicycle", "a basket of bread", "a red scarf", "a tin cup"),
        *("a bunch of keys", "a letter from home", "a camera with one lens", "a bottle of water"),
    ),
    "number": ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "twenty", "thirty"),
    "unit": ("days", "weeks", "months", "years", "hours", "summers", "winters"),
    "group": (
        *("the neighbours", "the children of the school", "the fishermen", "the visitors", "the older people here"),
        *("the students", "the farmers", "most of the guests", "the members of the club", "the people of the town"),
        *("the two brothers", "the volunteers", "the walkers", "the musicians", "the workers from the factory"),
    ),
    "food": (
        *("bread and cheese", "a bowl of soup", "coffee and apple cake", "fresh fish", "tea with honey"),
        *("roasted potatoes", "warm rolls", "a plate of beans", "cherries from the garden", "pancakes"),
    ),
    "feel": ("happy", "tired", "surprised", "proud", "curious", "quiet", "grateful", "nervous", "hungry", "calm"),
    "good": ("beautiful", "simple", "strange", "bright", "patient", "honest", "careful", "lively", "generous", "clear"),
}

# Sentences that fit any of the articles.
COMMON: Final = (
    "{person} came to {place} {when}, when {weather}, and stayed for {number} {unit}.",
    "Nobody had expected that {group} would wait {number} hours for it, but they did.",
    "We met {person} at {place}, where {weather} and somebody had left {thing}.",
    "It took {number} {unit} until {group} agreed on what should be done with {place}.",
    "According to {person}, the best time to see it is {when}, because then {weather}.",
    "There is a story that {group} like to tell about {thing} that was found near {place}.",
    "In the evening there was {food} for everybody, and {person} talked about the way to {place}.",
    "The work was slow, but {person} was {feel} with the result and did not want to change anything.",
    "Some of {group} remember how it was {number} {unit} ago, long before there was a road to {place}.",
    "If you walk from {place} to {place2}, you will need about {number} hours and {thing}.",
    "I was {feel} at first, then I saw that {group} had brought {food}, and I sat down with them.",
    "What makes it so {good} is hard to say, but {person} has tried to explain it in a book.",
    "For {number} {unit} nothing happened at all, and then {group} decided to begin again {when}.",
    "You can still see where {person} carved a name into the wall beside {place}.",
    "The money for it came from {group}, who had collected it {when}.",
    "{person} and {person2} have known each other for {number} {unit} and still argue about {place}.",
    "On the way back {weather}, and we shared {food} under the roof of {place}.",
    "It is a {good} idea, and it would never have worked without {group}.",
    "My grandmother used to say that {place} is most {good} when {weather}.",
    "Since then {group} meet there {when}, and everybody brings {thing} or {food}.",
    "{person} laughed and said that {number} {unit} were not enough to learn it.",
    "There were about {number} of us, and every one of us had forgotten {thing}.",
    "Later we heard from {person} that the door had been open all the time.",
    "The answer was {good}, and it made {group} think about {place} in another way.",
    "Before you go, ask {person} for the key, and do not leave {thing} on the stairs.",
    "Last year {number} people asked for it, and this year there will be more of them.",
    "The letter that {person} wrote {when} hangs in a frame near the entrance of {place}.",
    "All of that changed {when}, when {person2} bought {thing} and gave it to {group}.",
    "We had planned to leave {when}, but {weather} and so we stayed for {food}.",
    "It is not far from {place}, although it may feel like {number} {unit} when {weather}.",
    "Most visitors never notice it, since they look for {place} and not for {thing}.",
    "Even {person}, who has seen a lot, was {feel} when the lights went on.",
    "When we asked {group} about it, they only pointed in the direction of {place}.",
    "The first attempt failed after {number} {unit}, and {person} went home without a word.",
    "Below the window of {person2} there is {thing}, and nobody knows who put it there.",
    "A {good} part of the day was over when we reached {place} and {weather}.",
)

# Sentences on what a picture of the scene shows, and on the trade behind it.
TOPICS: Final[dict[str, tuple[str, ...]]] = {
    "sailboats": (
        "The boats leave the harbour with the tide and come back when the wind turns to the west.",
        "A sail of that colour can be seen from {place} as soon as {weather}.",
        "{person} learned to sail {when} and has built {number} small boats since then.",
        "On calm water even a beginner can hold the boat on its course for an hour.",
        "The race around the island takes {number} hours, and {group} watch it from {place}.",
    ),
    "mountains": (
        "The snow on the summit stays until July, and in some years it does not melt at all.",
        "From the hut you can see {number} peaks, if you get up early and {weather}.",
        "The path climbs through the forest, crosses the stream and ends below the rocks.",
        "{person} has been on the mountain {number} times and says that it is never the same.",
        "Whoever wants to reach the top should start {when} and carry enough water.",
    ),
    "village": (
        "The houses stand close together, because the wind from the hills is cold in winter.",
        "Every roof in the village was made by the family of {person}.",
        "{number} families live here today, and there is a small shop beside {place}.",
        "The trees on the hill were planted by {group} {when}.",
        "In the village hall hangs a painting of the street as it was {number} {unit} ago.",
    ),
    "city": (
        "From the roof one can count the windows of the office towers when they light up at dusk.",
        "The new buildings are higher than the old ones, and {group} have got used to them.",
        "{person} works on the ninth floor and looks down on {place} every day.",
        "At night the city is never dark, since somebody is always awake behind one of the windows.",
        "The architect, {person2}, wanted a house that looks different from every street.",
    ),
    "fruit": (
        "The fruit was picked {when} and has lain on the table for {number} days.",
        "A ripe pear should smell sweet and give way a little when you press it.",
        "{person} paints nothing but fruit, and needs {number} {unit} for one canvas.",
        "The cloth on the table belonged to the grandmother of {person2}.",
        "Apples keep longest in a cool cellar, side by side, and without touching.",
    ),
    "flowers": (
        "The flowers open when {weather}, and close again before the evening.",
        "Sow them {when}, not too deep, and keep the bed free of grass for {number} {unit}.",
        "{person} grows them behind {place} and sells them at the market.",
        "In a meadow that is cut only once a year they return without any help.",
        "Bees visit the tall ones first, and {group} have counted {number} kinds of them.",
    ),
    "balloons": (
        "A balloon flies where the wind goes, and the pilot can only choose the height.",
        "The basket holds {number} people and {thing}, but not much more than that.",
        "{person} flew over {place} {when} and landed in a field of potatoes.",
        "Before the start the silk lies on the grass like a tent without poles.",
        "From above the fields look like a quilt, and {group} wave from their gardens.",
    ),
    "fishes": (
        "The fish swim in circles between the plants and are fed {number} times a day.",
        "In deep water their colour looks darker than it is in the hand.",
        "{person} keeps the tank clean and knows every one of the fish by name.",
        "The youngest of them hide among the leaves until they have grown to the size of a thumb.",
        "{group} come to the aquarium {when}, mostly to see them being fed.",
    ),
    "quilt": (
        "The pattern is made of {number} pieces, and no two of them were cut from the same dress.",
        "{person} sews by hand and needs {number} {unit} for a single blanket.",
        "Each row begins with a dark piece and ends with a light one.",
        "The quilt was found in the attic of {place}, wrapped in paper together with {thing}.",
        "{group} meet {when} to sew, and the best of the work is shown in spring.",
    ),
    "cars": (
        "The road through the fields is narrow, and two cars can hardly pass each other.",
        "{person} has repaired the car so often that little of it is original.",
        "There were {number} cars at the meeting, and most of them were older than their drivers.",
        "On Sundays {group} drive to {place} and have {food} by the side of the road.",
        "The paint was mixed by hand, because nobody sells that colour any more.",
    ),
    "desert": (
        "A cactus of that size is older than anybody who has ever taken a picture of it.",
        "In the sand one sees every track, and {person} can read most of them.",
        "The nights are cold in the desert, even when the day was hot and {weather}.",
        "It rains {number} times a year, and after each rain the hills turn green for a week.",
        "{group} crossed the desert {when} with {thing} and very little water.",
    ),
    "snowmen": (
        "The snow was wet enough, and {group} built the figures in less than an hour.",
        "The hat belongs to {person}, who would like to have it back before the spring.",
        "Every winter there is a prize for the snowman that stands longest.",
        "Behind the trees the snow was deep, and {person2} lost a shoe in it.",
        "After {number} days only the hats and the carrots were left on the grass.",
    ),
    "planets": (
        "The planet is so far away that its light has been on its way for {number} hours.",
        "With a simple telescope {person} could see the rings from {place}.",
        "On the surface a day is longer than a year, and there is no wind at all.",
        "The museum shows a model of the planets in which the sun is as large as a door.",
        "{group} looked through the telescope one after the other, and {weather}.",
    ),
    "forest": (
        "The trees at the edge of the forest get more light, and so they grow wider.",
        "The birds come back {when}, and {group} count them every year.",
        "{person} has walked the same path through the forest for {number} {unit}.",
        "An oak needs more than a hundred years until it looks like the one in the picture.",
        "After the storm {number} trees lay across the path that leads to {place}.",
    ),
}
TITLES: Final[dict[str, tuple[str, ...]]] = {
    "sailboats": ("Under sail", "Boats in the bay", "With the tide", "A day at sea"),
    "mountains": ("Snow on the summit", "The way to the top", "Above the tree line", "Before the pass"),
    "village": ("Houses on the hill", "A street and its people", "The village in spring", "Red roofs"),
    "city": ("Lights in the windows", "The view from the roof", "Towers", "A city at dusk"),
    "fruit": ("Fruit on a table", "What the cellar keeps", "Ripe", "A still life"),
    "flowers": ("Tall flowers", "The meadow", "What grows without help", "A bed of colours"),
    "balloons": ("Over the fields", "Where the wind goes", "A basket and a flame", "Balloons in the morning"),
    "fishes": ("Between the water plants", "The aquarium", "Fish in deep water", "Feeding time"),
    "quilt": ("A pattern of pieces", "Sewn by hand", "The blanket in the attic", "Rows and colours"),
    "cars": ("On the road", "Old cars", "Through the fields", "The meeting of the drivers"),
    "desert": ("The tall cactus", "Tracks in the sand", "Cold nights", "After the rain"),
    "snowmen": ("Figures of snow", "The prize of the winter", "A hat in the snow", "Before it melts"),
    "planets": ("Far from the sun", "Rings", "Through the telescope", "A model of the planets"),
    "forest": ("At the edge of the forest", "The birds come back", "Old oaks", "After the storm"),
}


class Writer:
    """Writes about scenes; a sentence of the common stock comes once a page, so pages share little."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self._common = rng.sample(COMMON, len(COMMON))
        self._topics = {scene: rng.sample(lines, len(lines)) for scene, lines in TOPICS.items()}

    def title(self, scene: str) -> str:
        """`Under sail: a report from the old harbour`."""
        kind = self.rng.choice(("a report from", "a visit to", "a letter from", "notes from", "a story about"))
        return f"{self.rng.choice(TITLES[scene])}: {kind} {self.rng.choice(GAPS['place'])}"

    def paragraph(self, scene: str) -> str:
        """Four to six sentences, 60 to 120 words."""
        lines = list(self._lines(scene))
        self.rng.shuffle(lines)
        return " ".join(self.fill(line) for line in lines)

    def byline(self) -> str:
        return self.fill("By {person}, {when}")

    def fill(self, line: str) -> str:
        """The sentence with words in its gaps; `person2` is another one than `person`."""
        words = {name: self.rng.sample(choices, 2) for name, choices in GAPS.items()}
        text = _GAP.sub(lambda gap: words[gap[1].removesuffix("2")][gap[1].endswith("2")], line)
        return text[0].upper() + text[1:]

    def _lines(self, scene: str) -> Iterator[str]:
        for _ in range(2):
            if self._topics[scene]:
                yield self._topics[scene].pop()
        for _ in range(self.rng.randint(3, 4)):
            yield self._common.pop() if self._common else self.rng.choice(COMMON)


# Paragraphs that sites put between the others of their articles, on page after page.
BOILERPLATE: Final[dict[str, str]] = {
    "harbour": "Do you like what you read? Subscribe to our weekly letter and never miss a story from the harbour.",
    "gardens": "This article first appeared in our magazine. Order a copy today and get the next one for free.",
    "summits": "Please remember that our reports are no advice: conditions in the mountains may change within an hour.",
    "villages": "Have you seen something that we should write about? Call our office or send us a message at any time.",
    "museum": "The museum is open every day except Monday from ten to six, and children under twelve enter for free.",
}
COOKIES: Final = (
    "We use cookies to improve your experience on our site. By continuing to browse you agree to our use of cookies.",
    "This website stores data such as cookies to enable important functions. You can change your settings at any time.",
    "We and our partners use cookies and similar technology to measure how the site is used and to show advertising.",
)
COMMENTS: Final = (
    "Great post, thanks for sharing it with us!", "I was there last year and it is exactly as you say.",
    "First!!!", "Can anybody tell me where I can park near this place?", "Lovely pictures, show us more of them.",
)  # fmt: skip
SPAM: Final = (
    "cheap watches online best price watches buy watches cheap watches online best price watches buy watches",
    "casino bonus free casino bonus online casino bonus free spins casino bonus online casino free spins casino",
    "buy shoes online cheap shoes sale shoes discount shoes buy shoes online cheap shoes sale shoes discount shoes",
)
FOREIGN_PARAGRAPHS: Final[dict[str, tuple[str, ...]]] = {
    "fr": (
        "Le petit port se réveille lentement quand les premiers bateaux reviennent de la pêche. Les vendeuses "
        "préparent leurs étals, on entend les mouettes et l'odeur du café se mêle à celle de la mer.",
        "Chaque été, les habitants du village se retrouvent sur la place pour danser jusque tard dans la nuit. Les "
        "enfants courent entre les tables pendant que les anciens racontent les histoires d'autrefois.",
        "Le chemin traverse la forêt, longe la rivière et monte ensuite jusqu'au refuge. Il faut compter trois "
        "heures de marche, et la vue sur la vallée fait vite oublier la fatigue.",
    ),
    "de": (
        "Der kleine Hafen erwacht langsam, wenn die ersten Boote vom Fischfang zurückkehren. Die Händlerinnen "
        "bauen ihre Stände auf, man hört die Möwen, und der Geruch von Kaffee mischt sich mit dem des Meeres.",
        "Jeden Sommer treffen sich die Bewohner des Dorfes auf dem Platz und tanzen bis spät in die Nacht. Die "
        "Kinder laufen zwischen den Tischen umher, während die Alten Geschichten von früher erzählen.",
        "Der Weg führt durch den Wald, am Fluss entlang und dann hinauf zur Hütte. Man braucht etwa drei Stunden, "
        "und der Blick über das Tal lässt die Müdigkeit schnell vergessen.",
    ),
    "es": (
        "El pequeño puerto despierta despacio cuando los primeros barcos vuelven de pescar. Las vendedoras "
        "preparan sus puestos, se oyen las gaviotas y el olor del café se mezcla con el del mar.",
        "Cada verano los vecinos del pueblo se reúnen en la plaza para bailar hasta muy tarde. Los niños corren "
        "entre las mesas mientras los mayores cuentan las historias de antes.",
        "El camino cruza el bosque, sigue el río y sube después hasta el refugio. Se tarda unas tres horas, y la "
        "vista del valle hace olvidar pronto el cansancio.",
    ),
    "ru": (
        "Маленькая гавань медленно просыпается, когда первые лодки возвращаются с рыбной ловли. Торговки "
        "раскладывают товар, слышны крики чаек, и запах кофе смешивается с запахом моря.",
        "Каждое лето жители деревни собираются на площади и танцуют до поздней ночи. Дети бегают между столами, а "
        "старики рассказывают истории о прежних временах.",
        "Тропа идёт через лес, вдоль реки и потом поднимается к хижине. Дорога занимает около трёх часов, а вид на "
        "долину быстро заставляет забыть усталость.",
    ),
}
