"""Heavy-pollution responses with a cut list that grows, and road-check campaigns that are reported after they were held."""

from datetime import timedelta

from contracts.people import Role
from tests.simulator.cast import COUNTY
from tests.simulator.deeds import Choice, is_strangers
from tests.simulator.handset import Handset
from tests.simulator.steering_deeds import SteeringDeeds

RESPONSES_MAX, CAMPAIGNS_MAX, LISTED_MAX = 2, 8, 3
RESPONSE = {
    "drafted": ["start", "start", "start", "list"],
    "started": ["respond", "respond", "respond", "list", "lift"],
    "responding": ["list", "lift"],
}
RESPONDS = {"start": "started", "respond": "responding", "lift": "lifted"}


class WeatherDeeds(SteeringDeeds):
    """The deeds of steering, and those of a supervisor on a day of bad air."""

    def casework(self, handset: Handset) -> list[Choice]:
        return [*super().casework(handset), *self.weather(handset)]

    def weather(self, handset: Handset) -> list[Choice]:
        match self._role(handset):
            case Role.COUNTY_SUPERVISOR:
                return [(14, self.steer_response), (5, self.run_campaign)]
            case Role.DEPARTMENT_LEAD:
                return [(5, self.run_campaign)]
            case _:
                return []

    # ------------------------------------------------------------------------------------------ responses

    def steer_response(self, handset: Handset) -> str:
        under_way = [v for v in handset.phone.records("response") if v.body.get("state", "drafted") in RESPONSE]
        if len(under_way) < RESPONSES_MAX and handset.random.random() < 0.5:
            return self._declare(handset)
        view, deed = self._next(handset, "response", RESPONSE)
        if view is None:
            return ""
        if deed != "list":
            return self._does(handset, view, f"response.{deed}", leads_to=RESPONDS[deed], reason=self.word())
        listed = [str(site) for site in view.body.get("sites") or []]
        more = [site for site in self._sites_on_screen(handset) if site not in listed]
        return self._edit(handset, view, {"sites": [*listed, handset.random.choice(more)]}) if more else ""

    def _declare(self, handset: Handset) -> str:
        sites = self._sites_on_screen(handset)
        if not sites:
            return ""
        listed = handset.random.sample(sites, min(len(sites), handset.random.randint(1, LISTED_MAX)))
        repeats = {"repeats": "FREQ=DAILY"} if handset.random.random() < 0.7 else {}
        body = {"unit": COUNTY, "title": self.word(), "note": self.word(), "sites": listed, **repeats}
        return self._create(handset, "response", body, COUNTY)

    def _sites_on_screen(self, handset: Handset) -> list[str]:
        """In an order that is the same in every run of a seed."""
        views = [v for v in handset.phone.records("site") if str(v.body.get("unit", "")).startswith(COUNTY) and not is_strangers(v)]
        return [str(v.id) for v in sorted(views, key=lambda v: str(v.body.get("name")))]

    # ------------------------------------------------------------------------------------------ road checks

    def run_campaign(self, handset: Handset) -> str:
        """Entered afterwards, by each bureau for itself: what two have entered for the same days was one action."""
        units = [duty.unit for duty in handset.person.held(self.true_ms())]
        view = self._any(handset, "campaign", where=lambda v: v.body.get("state", "planned") == "planned" and v.body.get("unit") in units)
        if view is not None and handset.random.random() < 0.15:
            return self._does(handset, view, "campaign.cancel", leads_to="cancelled", reason=self.word())
        if view is not None:
            return self._does(handset, view, "campaign.finish", typed={"result": self.word()}, leads_to="held")
        if sum(1 for _ in handset.phone.records("campaign")) >= CAMPAIGNS_MAX:
            return ""
        unit, ends_on = handset.random.choice(units), self._today() - timedelta(days=handset.random.choice([0, 1, 1, 2, 5, 9]))
        starts_on = ends_on - timedelta(days=handset.random.choice([0, 1, 1, 2, 3]))
        body = {"unit": unit, "title": self.word(), "starts_on": starts_on.isoformat(), "ends_on": ends_on.isoformat()}
        return self._create(handset, "campaign", body, unit)
