// SPDX-License-Identifier: Apache-2.0
//
// The reset after configuration: high until the PLL has been locked for CLOCKS clocks without a
// break. iCE40's block RAM reads as zeros for some microseconds after configuration, however early
// the clock runs; and a clock that wanders while the PLL locks must not drive anything.

`default_nettype none

module power_on_reset #(
    parameter CLOCKS = 4096  // at least 2
) (
    input  wire clk,
    input  wire locked,  // of the PLL, in no relation to the clock
    output wire rst
);

    localparam WIDTH = $clog2(CLOCKS);
    localparam [WIDTH-1:0] LAST = CLOCKS[WIDTH-1:0] - 1'b1;

    reg [1:0]       locked_reg = 0;
    reg [WIDTH-1:0] count_reg  = 0;
    reg             rst_reg    = 1'b1;
    assign rst = rst_reg;

    always @(posedge clk) begin
        locked_reg <= {locked_reg[0], locked};
        rst_reg    <= !locked_reg[1] || count_reg != LAST;
        if (!locked_reg[1])
            count_reg <= 0;
        else if (count_reg != LAST)
            count_reg <= count_reg + 1'b1;
    end

endmodule

`default_nettype wire
