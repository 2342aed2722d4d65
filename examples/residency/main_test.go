package main

func Example() {
	main()
	// Output:
	// Where may the records of an Irish hospital be?
	// Frankfurt                         allowed
	// Virginia, no papers looked at     unknown
	//     eu-gdpr.adequacy.us-safe-harbour: no longer in force on 2026-12-01
	//     eu-gdpr.adequacy.us-privacy-shield: no longer in force on 2026-12-01
	//     eu-gdpr.adequacy.us-dpf: paper dpf-listing
	//     eu-gdpr.tool.scc-2021: paper tia, paper scc that covers 2021, paper bcr
	// Virginia, listed                  allowed
	// Virginia in 2020, Privacy Shield  allowed
	// the day of the judgment           denied
	//     eu-gdpr.adequacy.us-safe-harbour: no longer in force on 2020-07-16
	//     eu-gdpr.adequacy.us-privacy-shield: no longer in force on 2020-07-16
	//     eu-gdpr.adequacy.us-dpf: not yet in force on 2020-07-16
	//     eu-gdpr.tool.scc-2010.assessed: what it needs does not hold
	// London, last day of adequacy      allowed
	// London, the day after             denied
	//     eu-gdpr.gb-transition: no longer in force on 2031-12-28
	//     eu-gdpr.gb-bridge: no longer in force on 2031-12-28
	//     eu-gdpr.adequacy.gb: no longer in force on 2031-12-28
	//     eu-gdpr.tool.scc-2021: what it needs does not hold
	//
	// One write, and where it is:
	// dublin                            true
	// frankfurt                         true
	// virginia                          true
	//
	// If the Data Privacy Framework ended in January, 1 object at virginia would have to go.
	//
	// It has ended, and three copies are wanted:
	// denied: the lawful sites do not give 3 sites
	// virginia                          denied
	//     eu-gdpr.adequacy.us-safe-harbour: no longer in force on 2026-12-01
	//     eu-gdpr.adequacy.us-privacy-shield: no longer in force on 2026-12-01
	//     eu-gdpr.adequacy.us-dpf: no longer in force on 2026-12-01
	//     eu-gdpr.tool.scc-2021: what it needs does not hold
}
