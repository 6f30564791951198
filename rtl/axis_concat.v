// SPDX-License-Identifier: Apache-2.0
//
// Puts the channels of INPUTS streams of equal height and width behind one another.
//
// A group is the pixels of a beat with all their channels; of each group, the beats of the first
// input leave first, then those of the second, and so on. So all inputs have as many LANES and
// PIXELS, and their channels are multiples of LANES, but for the last input's.
// Takes a beat every clock. Latency: 1 clock, that of axis_fifo.
// Equals model.network.layers.concat.Concat.

`default_nettype none

module axis_concat #(
    parameter INPUTS     = 2,  // 2 or more
    parameter WIDTH      = 8,  // bits of a beat
    parameter GROUPS     = 1,  // an image
    parameter [16*INPUTS-1:0] BEATS = {INPUTS{16'd1}},  // a group, of each input, the first lowest
    parameter FIFO_DEPTH = 2   // output beats taken up
) (
    input  wire                    clk,
    input  wire                    rst,
    input  wire [WIDTH*INPUTS-1:0] s_axis_tdata,  // the first input's lowest, as in all below
    input  wire [INPUTS-1:0]       s_axis_tvalid,
    output wire [INPUTS-1:0]       s_axis_tready,
    output wire [WIDTH-1:0]        m_axis_tdata,
    output wire                    m_axis_tlast,
    output wire                    m_axis_tvalid,
    input  wire                    m_axis_tready
);

    function integer total;  // beats of a group, of the first `inputs` inputs
        input integer inputs;
        integer i;
        begin
            total = 0;
            for (i = 0; i < inputs; i = i + 1)
                total = total + {16'd0, BEATS[16*i +: 16]};
        end
    endfunction

    localparam GROUP_BEATS = total(INPUTS);
    localparam BEAT_WIDTH  = $clog2(GROUP_BEATS);
    localparam GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1;

    generate
        if (INPUTS < 2) begin : gen_bad_inputs
            error_INPUTS_must_be_at_least_2 error();
        end
    endgenerate

    localparam [INPUTS-1:0] FIRST = 1;

    reg  [INPUTS-1:0]       turn_reg = FIRST;  // one bit: the input whose beats leave
    wire [INPUTS-1:0]       ends;              // the beat is an input's last one of the group
    wire [BEAT_WIDTH-1:0]   beat_number;
    wire [GROUP_WIDTH-1:0]  unused_group;
    wire                    unused_group_last, unused_beat_last, last, ready;
    wire                    valid = |(s_axis_tvalid & turn_reg);
    wire                    take  = valid && ready;
    wire [WIDTH*INPUTS-1:0] chosen;  // what leaves, from bit WIDTH*i on: from one of inputs 0 to i

    assign s_axis_tready = turn_reg & {INPUTS{ready}};

    fold_counter #(
        .GROUPS(GROUPS), .CHUNKS(GROUP_BEATS)
    ) count (
        .clk(clk), .rst(rst), .step(take),
        .group(unused_group), .chunk(beat_number),
        .group_last(unused_group_last), .chunk_last(unused_beat_last), .last(last)
    );

    genvar i;
    generate
        for (i = 0; i < INPUTS; i = i + 1) begin : gen_input
            localparam LAST = total(i + 1) - 1;
            wire [WIDTH-1:0] own = s_axis_tdata[WIDTH*i +: WIDTH] & {WIDTH{turn_reg[i]}};
            assign ends[i] = beat_number == LAST[BEAT_WIDTH-1:0];
            if (i == 0) begin : gen_first
                assign chosen[0 +: WIDTH] = own;
            end else begin : gen_other
                assign chosen[WIDTH*i +: WIDTH] = chosen[WIDTH*(i-1) +: WIDTH] | own;
            end
        end
    endgenerate

    always @(posedge clk) begin
        if (take && |ends)
            turn_reg <= {turn_reg[INPUTS-2:0], turn_reg[INPUTS-1]};
        if (rst)
            turn_reg <= FIRST;
    end

    axis_fifo #(
        .WIDTH(WIDTH), .DEPTH(FIFO_DEPTH)
    ) result_fifo (
        .clk(clk), .rst(rst),
        .s_axis_tdata(chosen[WIDTH*(INPUTS-1) +: WIDTH]), .s_axis_tlast(last),
        .s_axis_tvalid(valid), .s_axis_tready(ready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready)
    );

endmodule

`default_nettype wire
